"""Addresses by host in; what each host answered, asked once a run, out (`ask_hosts`), and then what that says of each
address (`weigh`). A host falls to one worker, so that no two of them ask it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.consent.finding import EVIDENCE, Finding, Says, evidence
from pipeline.consent.headers import absolute
from pipeline.consent.robots import FIELDS, MAX_LICENCES, Robots, ai_txt_says, robots_findings, signal_of
from pipeline.consent.rsl import licence_says, read_licence
from pipeline.consent.tdmrep import read_tdmrep, tdmrep_says
from pipeline.consent.web import Replies, Reply, State, ask
from pipeline.consent.xml import Malformed
from pipeline.warc import read_at
from pipeline.work import Work

if TYPE_CHECKING:
    from pipeline.config import Consent

ROBOTS, AI_TXT, TDMREP = "/robots.txt", "/ai.txt", "/.well-known/tdmrep.json"
MAX_SECONDS = 5.0  # of processor time that the addresses of one file may take; honest ones take milliseconds
_CACHED = 200  # files that are kept parsed

ANSWERS = pa.schema(
    [
        ("url", pa.string()),
        ("state", pa.string()),
        ("detail", pa.string()),
        ("seen", pa.int64()),  # second since 1970
        ("body", pa.binary()),
    ]
)


@dataclass(frozen=True, slots=True)
class _Capture:
    """A robots.txt of a host as the crawl has it."""

    date: int
    state: State
    detail: str
    warc: str
    offset: int
    length: int

    @property
    def reply(self) -> Reply:
        body = read_at(self.warc, self.offset, self.length).body if self.state == "found" else b""
        return Reply(self.state, self.detail, self.date, body)


def _captures(work: Work) -> dict[str, list[_Capture]]:
    """By host, in the order of their dates."""
    found: dict[str, list[_Capture]] = {}
    for row in work.rows_of("captures"):
        capture = _Capture(
            row["date"], row["state"], row["detail"], row["warc"], row["record_offset"], row["record_length"]
        )
        found.setdefault(row["origin"], []).append(capture)
    for captures in found.values():
        captures.sort(key=lambda capture: (capture.date, capture.warc, capture.offset))
    return found


def _as_of(captures: list[_Capture], date: int) -> _Capture:
    """The last capture before the page was fetched; if there is none, the first after it."""
    return next((capture for capture in reversed(captures) if capture.date <= date), captures[0])


def ask_hosts(work: Work, settings: "Consent") -> None:
    """Asks each host for its files, and for the licences that robots.txt or the headers of a page name."""
    captures = _captures(work)
    hosts: dict[str, set[str]] = {}
    for row in work.rows_of("addresses"):
        hosts.setdefault(row["origin"], set()).update(filter(None, row["licences"].split("\n")))
    table = work.table("answers", ANSWERS)
    known = Replies(work.kept(".replies"))

    def once(url: str) -> tuple[str, Reply]:
        reply = known.find(url)
        if reply is None:
            reply = ask(url, settings.requests)
            known.add(url, reply)
        return url, reply

    def files(origin: str) -> list[tuple[str, Reply]]:
        wanted = {AI_TXT: settings.ai_txt.live, TDMREP: settings.tdmrep.live}
        replies = [once(origin + path) for path, live in wanted.items() if live]
        texts = [capture.reply.body for capture in captures.get(origin, [])] if settings.rsl.live else []
        if settings.robots.live and origin not in captures:
            replies.append(once(origin + ROBOTS))
            texts.append(replies[-1][1].body)
        if settings.rsl.live:
            named = hosts[origin] | {absolute(origin, url) for text in texts for url in _licences(text)}
            replies += [once(url) for url in sorted(named)[:MAX_LICENCES]]
        return replies

    try:
        asked: set[str] = set()
        with ThreadPoolExecutor(settings.requests.threads) as threads:
            for replies in threads.map(files, sorted(hosts)):
                work.rows_in += 1
                work.units = work.rows_in
                work.count()
                for url, reply in replies:
                    if url in asked:  # a licence that several hosts name
                        continue
                    asked.add(url)
                    work.rows_out += 1
                    row = {"url": url, "state": reply.state, "detail": reply.detail, "seen": reply.seen}
                    table.write(row | {"body": reply.body}, len(reply.body))
    finally:
        known.close()


def _licences(robots: bytes) -> list[str]:
    try:
        return Robots(robots, ()).licences
    except Malformed:
        return []


@dataclass
class _File:
    """Something a host answered, parsed when it is first needed; `spent` is the time its addresses took."""

    reply: Reply
    parsed: Any = None
    error: str = ""
    spent: float = 0.0


@dataclass
class _Hosts:
    """The answers of the hosts of a bucket: bodies on disk, those last needed parsed."""

    settings: "Consent"
    captures: dict[str, list[_Capture]]
    bodies: Path
    places: dict[str, tuple[Reply, int, int]] = field(default_factory=dict)
    parsed: dict[tuple[str, _Capture | None], _File] = field(default_factory=dict)

    def load(self, rows: Iterator[dict[str, Any]]) -> None:
        with self.bodies.open("wb") as file:
            for row in rows:
                reply = Reply(row["state"], row["detail"], row["seen"])
                self.places[row["url"]] = reply, file.tell(), len(row["body"])
                file.write(row["body"])

    def file(self, url: str, capture: _Capture | None, parse: Any) -> _File | None:
        """A file that was asked for, or a capture of it; None if nobody asked for it."""
        key = url, capture
        if key not in self.parsed:
            reply = capture.reply if capture else self._reply(url)
            if reply is None:
                return None
            file = _File(reply)
            if reply.state == "found":
                try:
                    file.parsed = parse(reply.body)
                except Malformed as error:
                    file.error = f"malformed: {error}"
            if len(self.parsed) >= _CACHED:
                self.parsed.clear()
            self.parsed[key] = file
        return self.parsed[key]

    def _reply(self, url: str) -> Reply | None:
        if url not in self.places:
            return None
        reply, start, size = self.places[url]
        with self.bodies.open("rb") as file:
            file.seek(start)
            return Reply(reply.state, reply.detail, reply.seen, file.read(size))

    def findings(self, url: str, origin: str, date: int, named: list[str]) -> Iterator[Finding]:
        """What the files of its host say of an address; `named`: licences that the page's own headers name."""
        licences = list(named)
        settings = self.settings
        read_robots = partial(Robots, agents=(settings.agent, *settings.agents))
        if settings.robots.live or settings.robots.captures:
            capture = _as_of(self.captures[origin], date) if origin in self.captures else None
            file = self.file(origin + ROBOTS, capture, read_robots)
            yield from _timed(file, "robots_txt", self._robots(file, url, origin, capture, date))
            if file is not None and file.parsed is not None:
                licences += [absolute(origin, licence) for licence in file.parsed.licences]
        if settings.ai_txt.live and "ai_txt" in settings.signals:
            file = self.file(origin + AI_TXT, None, read_robots)
            yield from _timed(file, "ai_txt", _said(file, url, origin + AI_TXT, "ai_txt", ai_txt_says))
        if settings.tdmrep.live and "tdm_reservation" in settings.signals:
            file = self.file(origin + TDMREP, None, read_tdmrep)
            yield from _timed(
                file, "tdm_reservation", _said(file, url, origin + TDMREP, "tdm_reservation", tdmrep_says)
            )
        for licence in dict.fromkeys(licences if "rsl" in settings.signals else ()):
            file = self.file(licence, None, read_licence)
            yield from _timed(file, "rsl", _said(file, url, licence, "rsl", licence_says))

    def _robots(
        self, file: _File | None, url: str, origin: str, capture: _Capture | None, date: int
    ) -> Iterator[Finding]:
        where = origin + ROBOTS
        heeded = self.settings.signals
        signals = [name for name in ("robots_txt", *map(signal_of, FIELDS), "rsl") if name in heeded]
        if file is None:
            yield from (Finding("not_checked", signal, where, "no capture") for signal in signals)
            return
        when = file.reply.when
        if capture is not None:
            where += " captured after the page" if capture.date > date else " captured"
        if file.reply.state == "unreachable":  # RFC 9309, 2.3.1.4: everything is disallowed
            for signal in signals:
                says: Says = "refused" if signal == "robots_txt" else "not_checked"
                yield Finding(says, signal, where, file.reply.detail, when)
        elif file.reply.state == "unreadable" or file.error:
            said = file.error or file.reply.detail
            yield from (Finding("not_checked", signal, where, said, when) for signal in signals)
        elif file.parsed is not None:
            for found in robots_findings(file.parsed, url, heeded, where):
                yield replace(found, when=when)


def _said(
    file: _File | None, url: str, where: str, signal: str, says: Callable[[Any, str], tuple[Says, str] | None]
) -> Iterator[Finding]:
    """What a file says of an address; `says` reads that from what it was parsed to."""
    if file is None or file.parsed is None:
        yield from _unread(file, signal, where)
    elif said := says(file.parsed, url):
        yield Finding(said[0], signal, where, said[1], file.reply.when)


def _unread(file: _File | None, signal: str, where: str) -> Iterator[Finding]:
    """A file that is not there says nothing, unless it is a licence: somebody named it. All else is not checked."""
    if file is None:
        yield Finding("not_checked", signal, where, "was not asked")
    elif file.reply.state != "absent" or signal == "rsl":
        yield Finding("not_checked", signal, where, file.error or file.reply.detail, file.reply.when)


def _timed(file: _File | None, signal: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    if file is None:
        yield from findings
    elif file.spent > MAX_SECONDS:
        yield Finding("not_checked", signal, "the rules of the host", "take too long to read")
    else:
        started = process_time()
        try:
            found = list(findings)
        except Exception as error:  # of a parser, on one address of billions
            found = [Finding("not_checked", signal, "the rules of the host", type(error).__name__)]
        file.spent += process_time() - started
        yield from found


def weigh(work: Work, settings: "Consent") -> None:
    """A row of `consent` for each refusal, and for each thing that could not be checked, of each address."""
    table = work.table("consent", EVIDENCE)
    hosts = _Hosts(settings, _captures(work), work.scratch / "bodies")
    hosts.load(work.rows("answers", "answers") if "answers" in work.inputs else iter(()))
    for row in work.rows_of("addresses"):
        work.rows_in += 1
        work.units = work.rows_in
        work.count()
        found = hosts.findings(
            row["url"], row["origin"], row["crawl_date"], list(filter(None, row["licences"].split("\n")))
        )
        for finding in found:
            if finding.says != "allowed":
                work.rows_out += 1
                table.write(evidence(row, finding))
