"""Lines of text and the text of the page they were taken from in; the place of each line in the page out.

Both are letters and digits alone: white space and punctuation are what extractors change.
"""

import re
from bisect import bisect_left
from unicodedata import normalize

ANCHOR = 12  # characters: a line that stands once in the page fixes its neighbours if it is as long as that
PROBE = 24  # characters of the beginning and of the end of a line that is not found as a whole

Place = tuple[int, int]


def bare(text: str) -> str:
    """The letters and digits alone."""
    return re.sub(r"[\W_]+", "", normalize("NFC", text)).lower()


def align(lines: list[str], page: str) -> list[Place | None]:
    """Where each line begins and ends in `page`, in increasing order of beginnings; None where it was not found.

    Lines that stand once in the page are anchors, of which as many as possible are taken that are in order (the longest
    increasing subsequence, as in patience diff); the others are looked for in order between them.
    """
    places: list[Place | None] = [None] * len(lines)
    anchors = []
    for number, line in enumerate(lines):
        if len(line) >= ANCHOR and (place := _find(line, page, 0, len(page))):
            probe = page[place[0] : min(place[1], place[0] + len(line))]
            if page.find(probe, place[0] + 1) < 0:
                anchors.append((number, place))
    for number, place in _increasing(anchors):
        places[number] = place
    following = [len(page)] * (len(lines) + 1)  # where the next anchor begins
    for number in range(len(lines) - 1, -1, -1):
        fixed = places[number]
        following[number] = fixed[0] if fixed else following[number + 1]
    # What stands before the first anchor is looked for from there upwards: the text begins near it, not in the menu.
    first = next((number for number, place in enumerate(places) if place), -1)
    for number in range(first - 1, -1, -1):
        stop = following[number] = following[number + 1]
        at = page.rfind(lines[number], 0, stop) if lines[number] else -1
        place = (at, at + len(lines[number])) if at >= 0 else _find(lines[number], page, 0, stop)
        if place and lines[number]:
            places[number] = place
            following[number] = place[0]
    at = 0
    for number, line in enumerate(lines):
        if places[number] is None and line and number > first:
            places[number] = _find(line, page, at, following[number])
        fixed = places[number]
        at = max(at, fixed[1]) if fixed else at
    return places


def _find(line: str, page: str, start: int, stop: int) -> Place | None:
    at = page.find(line, start, stop)
    if at >= 0:
        return at, at + len(line)
    if len(line) >= 2 * PROBE:
        at = page.find(line[:PROBE], start, stop)
        if at >= 0:
            end = page.find(line[-PROBE:], at + PROBE, min(stop, at + 2 * len(line)))
            return at, (at if end < 0 else end) + PROBE
    return None


def _increasing(anchors: list[tuple[int, Place]]) -> list[tuple[int, Place]]:
    """The longest subsequence whose beginnings increase, in n log n."""
    ends: list[int] = []  # the smallest beginning at which a subsequence of each length ends
    holders: list[int] = []  # the anchor with that beginning
    before: list[int] = []
    for index, (_, (start, _)) in enumerate(anchors):
        length = bisect_left(ends, start)
        before.append(holders[length - 1] if length else -1)
        if length == len(ends):
            ends.append(start)
            holders.append(index)
        else:
            ends[length], holders[length] = start, index
    chain = []
    index = holders[-1] if holders else -1
    while index >= 0:
        chain.append(anchors[index])
        index = before[index]
    return chain[::-1]
