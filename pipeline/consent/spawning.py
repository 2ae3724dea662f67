"""Addresses by host in; what Spawning's registry, or one that speaks as it does, says of each out."""

import json
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.consent.finding import EVIDENCE, Finding, evidence
from pipeline.consent.web import Replies, Reply, ask
from pipeline.fetch import requestable
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import Requests, Spawning

KEY = "SPAWNING_OPTS_KEY"
MAX_BATCH = 1_000_000  # bytes of addresses in one request
MAX_PAUSE = 60.0


def ask_registry(work: Work, settings: "tuple[Spawning, Requests]") -> None:
    """A row of `consent` for each address that opted out and for each of which the registry says nothing: for want of a
    key, because it fails, or because its answer leaves the address out."""
    spawning, requests = settings
    table = work.table("consent", EVIDENCE)
    registry = _Registry(spawning, requests, Replies(work.kept(".replies")))
    try:
        for rows in _batches(work, spawning.batch):
            answer = registry.ask(sorted({address for row in rows if (address := requestable(row["url"]))}))
            for row in rows:
                opted_out = answer.opted_out.get(requestable(row["url"]) or "")
                if opted_out is None:
                    finding = Finding("not_checked", "spawning", spawning.url, answer.problem, answer.when)
                elif opted_out:
                    finding = Finding("refused", "spawning", spawning.url, "optOut: true", answer.when)
                else:
                    continue
                work.rows_out += 1
                table.write(evidence(row, finding))
            work.units = work.rows_in
            work.count()
    finally:
        registry.known.close()


def _batches(work: Work, size: int) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    length = 0
    for row in work.rows_of("addresses"):
        work.rows_in += 1
        if rows and (len(rows) >= size or length + len(row["url"]) > MAX_BATCH):
            yield rows
            rows, length = [], 0
        rows.append(row)
        length += len(row["url"])
    if rows:
        yield rows


class _Answer:
    """`opted_out` by address; what is not there was not answered, and `problem` says why."""

    def __init__(self, reply: Reply) -> None:
        self.when, self.opted_out, self.problem = reply.when, dict[str, bool](), reply.detail
        if reply.state != "found":
            return
        self.problem = "left out of the answer"
        try:
            for entry in json.loads(reply.body)["urls"]:
                if type(entry["optOut"]) is bool:
                    # The most restrictive answer of several on one address.
                    self.opted_out[entry["url"]] = entry["optOut"] or self.opted_out.get(entry["url"], False)
        except (ValueError, KeyError, TypeError, RecursionError):
            self.problem, self.opted_out = "no answer in the registry's form", {}


class _Registry:
    """One request after another, each no sooner than the pause allows; what was answered is not asked again."""

    def __init__(self, spawning: "Spawning", requests: "Requests", known: Replies) -> None:
        self.spawning, self.requests, self.known = spawning, requests, known
        self.key = os.environ.get(KEY, "")
        self.next = 0.0

    def ask(self, addresses: list[str]) -> _Answer:
        if not self.key:
            return _Answer(Reply("absent", f"{KEY} is not set", int(time.time())))
        if not addresses:
            return _Answer(Reply("absent", "no http or https address", int(time.time())))
        asked = f"{self.spawning.url} {key64(*addresses):x}"
        if (before := self.known.find(asked)) is not None:
            return _Answer(before)
        body = "\n".join(addresses if len(addresses) > 1 else addresses * 2).encode()  # one alone is an error
        pause = max(self.spawning.pause, 0.1)
        for _ in range(self.spawning.retries + 1):
            time.sleep(max(0.0, self.next - time.monotonic()))
            reply = ask(self.spawning.url, self.requests, post=body, key=self.key)
            answer = _Answer(reply)
            self.next = time.monotonic() + self.spawning.pause
            if reply.state != "unreachable":
                break
            self.next = time.monotonic() + pause
            pause = min(2 * pause, MAX_PAUSE)
        if answer.opted_out:
            self.known.add(asked, reply)
        return answer
