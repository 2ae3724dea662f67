"""A C2PA manifest store in; what its training-and-data-mining assertions say out. Signatures are not verified: a refusal
counts whoever signed it, and nothing is allowed because it is signed."""

import io
import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import cbor2

from pipeline.consent.finding import Says
from pipeline.consent.xml import Malformed

MAX_BOXES = 10_000
MAX_DEPTH = 16
MAX_ASSERTION = 64 * 1024  # bytes; a real one has some hundred

# C2PA 1.x and CAWG Training and Data Mining Assertion 1.x, with version and instance ("__2").
_LABEL = re.compile(r"(?:c2pa|cawg)\.training-mining(?:\.v\d++)?+(?:__\d++)?+")


def c2pa_says(store: bytes) -> tuple[Says, str] | None:
    """The most restrictive entry of all manifests in the store, those of ingredients too; none without such an assertion.

    An entry that is `constrained` is a refusal, since whatever the constraint asks for was not done. Raises Malformed.
    """
    answer: tuple[Says, str] | None = None
    broken = ""
    for label, kind, content in _assertions(store):
        try:
            entries = _entries(kind, content)
        except Malformed as error:
            broken = broken or f"{label}: {error}"
            continue
        for name, use in sorted(entries.items()):
            if use in ("notAllowed", "constrained"):
                return "refused", f"{label}: {name} {use}"
            if use != "allowed":
                broken = broken or f"{label}: {name} {use!r}"[:200]
            answer = answer or ("allowed", f"{label}: {name} {use}")
    if broken:
        raise Malformed(broken)
    return answer


def _entries(kind: bytes, content: bytes) -> dict[str, Any]:
    """The use of each entry. Raises Malformed."""
    if len(content) > MAX_ASSERTION:
        raise Malformed(f"{len(content)} bytes, at most {MAX_ASSERTION}")
    try:
        read = json.loads(content) if kind == b"json" else _cbor(content)
        return {str(name): entry.get("use") for name, entry in read["entries"].items()}
    except Exception as error:  # of two decoders on hostile bytes, or of a structure that is another
        raise Malformed(f"{type(error).__name__}: {error}"[:200]) from None


def _cbor(content: bytes) -> Any:
    return cbor2.CBORDecoder(io.BytesIO(content), max_depth=MAX_DEPTH).decode()


def _assertions(store: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """Label, type and content of each box below a superbox of such a label (ISO 19566-5). Raises Malformed."""
    boxes = 0
    waiting: list[tuple[int, int, int, str]] = [(0, len(store), 0, "")]  # from, to, depth, label
    while waiting:
        at, end, depth, label = waiting.pop()
        while at < end:
            boxes += 1
            if boxes > MAX_BOXES or depth > MAX_DEPTH:
                raise Malformed(f"more than {MAX_BOXES} boxes, or deeper than {MAX_DEPTH}")
            if end - at < 8:
                raise Malformed(f"a box at byte {at} ends too early")
            length, kind = struct.unpack_from(">I4s", store, at)
            inside = at + 8
            if length == 1:
                if end - at < 16:
                    raise Malformed(f"a box at byte {at} ends too early")
                length, inside = int.from_bytes(store[inside : inside + 8], "big"), inside + 8
            following = end if length == 0 else at + length
            if following < inside or following > end:
                raise Malformed(f"a box at byte {at} ends beyond the one around it")
            if kind == b"jumb":
                waiting.append((inside, following, depth + 1, _label(store[inside:following])))
            elif _LABEL.fullmatch(label) and kind in (b"cbor", b"json"):
                yield label, kind, store[inside:following]
            at = following


def _label(superbox: bytes) -> str:
    """From the description box that opens a superbox: type (16 bytes), toggles, and, where bit 1 says so, a label."""
    length = int.from_bytes(superbox[:4], "big")
    if superbox[4:8] != b"jumd" or length < 25 or not superbox[24:25] or not superbox[24] & 2:
        return ""
    return superbox[25:length].partition(b"\0")[0].decode("utf-8", "replace")
