"""A robots.txt, or an ai.txt, and an address in; what the lines that concern us say of it out.

`Allow` and `Disallow` are read by protego (RFC 9309: longest match, `*`, `$`). Lines that it does not know are read here:
Content-Usage and Content-Signal, of a group, the longest path first, and License, of the whole file.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from protego import Protego

from pipeline.consent.finding import Finding, Says
from pipeline.consent.usage import content_signal, content_usage
from pipeline.consent.xml import Malformed

MAX_BYTES = 500 * 1024  # of a file that are read (RFC 9309, 2.5)
MAX_LINES = 1_000  # of those that protego does not know
MAX_LICENCES = 5

# Lines with a path, or none, and a value: what that says. The field's name with underscores is the signal.
FIELDS: dict[str, Callable[[str], Says | None]] = {
    "content-usage": content_usage,
    "content-signal": content_signal,
}


class _Line(NamedTuple):
    """A line of preferences and the agents of its group; none: it stands before any group and is meant for all."""

    agents: frozenset[str]
    group: int
    field: str
    pattern: str
    value: str


class Robots:
    """The rules in a file; `agents` are those whose rules are ours, too. Raises Malformed where it cannot be read."""

    def __init__(self, data: bytes, agents: Sequence[str]) -> None:
        text = data[:MAX_BYTES].decode("utf-8", "replace").removeprefix("\ufeff")
        self.agents = ("*", *agents)
        try:
            self.rules = Protego.parse(text)
        except Exception as error:  # of a parser, on one file of millions
            raise Malformed(type(error).__name__) from None
        self.lines: list[_Line] = []
        self.licences: list[str] = []
        self.names_an_agent = False
        self._read(text)

    def _read(self, text: str) -> None:
        group: set[str] = set()
        number, opened = 0, False
        for line in text.splitlines():
            name, colon, value = (part.strip() for part in line.partition("#")[0].partition(":"))
            name = name.lower()
            if not colon or not name:
                continue
            if name in ("user-agent", "useragent", "user agent"):
                self.names_an_agent = True
                group = {value.lower()} | (group if opened else set())
                number, opened = number + (not opened), True
                continue
            opened = opened and name in ("sitemap", "license")
            if name == "license" and len(self.licences) < MAX_LICENCES:
                self.licences.append(value)
            elif name in FIELDS and len(self.lines) < MAX_LINES:
                pattern, _, rest = value.partition(" ") if value[:1] in ("/", "*") else ("/", "", value)
                self.lines.append(_Line(frozenset(group), number, name, pattern, rest))

    def disallows(self, url: str) -> str | None:
        """The first of our agents that may not fetch the address."""
        return next((agent for agent in self.agents if not self.rules.can_fetch(url, agent)), None)

    def preferences(self, url: str) -> Iterator[tuple[str, Says, str]]:
        """Of each group that concerns us what its longest matching lines say: field, verdict, value."""
        longest: dict[tuple[int, str], list[_Line]] = {}
        for line in self.lines:
            if not self._concerns_us(line.agents) or not matches(line.pattern, url):
                continue
            best = longest.setdefault((line.group, line.field), [])
            if best and len(best[0].pattern) < len(line.pattern):
                best.clear()
            if not best or len(best[0].pattern) == len(line.pattern):
                best.append(line)
        for (_, field), lines in longest.items():
            for line in lines:
                if says := FIELDS[field](line.value):
                    yield field, says, line.value

    def _concerns_us(self, agents: frozenset[str]) -> bool:
        return not agents or any(ours.lower() == agent for ours in self.agents for agent in agents)


def robots_findings(robots: Robots, url: str, heeded: Sequence[str], where: str) -> Iterator[Finding]:
    """What a robots.txt says of an address; what its licences say is not asked here."""
    if "robots_txt" in heeded:
        agent = robots.disallows(url)
        yield Finding(
            "refused" if agent else "allowed", "robots_txt", where, f"disallows {agent}" if agent else "allows"
        )
    for field, says, value in robots.preferences(url):
        if (signal := signal_of(field)) in heeded:
            yield Finding(says, signal, where, f"{field}: {value}")


def signal_of(field: str) -> str:
    return field.replace("-", "_")


def ai_txt_says(ai: Robots, url: str) -> tuple[Says, str] | None:
    """What an ai.txt says; one without a User-agent line (a page that says "not found") says nothing."""
    if not ai.names_an_agent:
        return None
    agent = ai.disallows(url)
    return ("refused", f"disallows {agent}") if agent else ("allowed", "allows")


def matches(pattern: str, url: str) -> bool:
    """Whether a path pattern of RFC 9309 matches an address."""
    return not _pattern(re.sub(r"\s", "", pattern).replace("#", "%23")).can_fetch(url, "*")


@lru_cache(10_000)
def _pattern(pattern: str) -> Protego:
    return Protego.parse(f"User-agent: *\nDisallow: {pattern}")
