"""Addresses that documents want in; what a mirror or the web answered out, by address, and a row for each attempt."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pyarrow as pa

from pipeline.answers import Answer, Answers
from pipeline.asker import DOWNLOADERS, Wanted
from pipeline.copies import kept_at
from pipeline.fetch import PASSING, Try
from pipeline.places import entries, size_of
from pipeline.receipts import stage_receipts, undo
from pipeline.work import Work, key64
from pipeline.worker import alive

if TYPE_CHECKING:
    from pipeline.config import Asking

# What came of each address. `part` and `place` say where its body lies: it changes with the order in which servers
# answer, unlike all that is made of it.
ANSWERS = pa.schema(
    [
        ("url_key", pa.int64()),
        ("url", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("headers", pa.string()),  # JSON: a list of names and values
        ("part", pa.int32()),
        ("place", pa.int64()),
        ("size", pa.int64()),
    ]
)
_SHOWN = ("content-type", "etag", "last-modified", "retry-after", "x-robots-tag", "tdm-reservation", "content-usage")
# Every request that was made, in the order in which they ended. The one table that holds a clock.
ATTEMPTS = pa.schema(
    [
        ("url", pa.string()),
        ("source", pa.string()),
        ("number", pa.int32()),  # of the try
        ("when", pa.timestamp("ms", tz="UTC")),
        ("seconds", pa.float32()),
        ("status", pa.int32()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("bytes", pa.int64()),
        ("final_url", pa.string()),
        *((name.replace("-", "_"), pa.string()) for name in _SHOWN),
    ]
)
# Where asking again under other settings brings the same: that is what the server said.
_SAID = {"gone", "forbidden", "client_error", "no_such_host", "bad_address"}


def fetch_images(work: Work, asking: "Asking") -> None:
    """Asks for every address of this part that has no answer yet, and writes down all of them."""
    under = format(key64(asking.model_dump_json()) & (2**64 - 1), "016x")
    with Answers(work.kept(".answers")) as answers:

        def unanswered() -> Iterator[Wanted]:
            for row in work.rows_of("addresses"):
                sources = asking.sources[: asking.first] if row["held"] else asking.sources
                found = answers.find(row["url_key"])
                work.units += 1
                work.count()
                if sources and (found is None or _anew(found[0], under)):
                    yield Wanted(row["url_key"], row["url"], list(sources))

        def take(wanted: Wanted, reason: str, detail: str, body: IO[bytes] | None) -> None:
            alive()
            tries = [asdict(one) for one in wanted.tries]
            headers = [list(pair) for pair in wanted.tries[-1].headers] if wanted.tries else []
            # A mirror that was down may have had it, whatever the web said afterwards.
            passing = reason != "ok" and (reason in PASSING or any(one.reason in PASSING for one in _last(wanted)))
            answers.add(Answer(wanted.key, wanted.url, reason, detail, passing, under, headers, tries), body)

        DOWNLOADERS[asking.downloader](unanswered(), asking, work.scratch, take)
        answers.reopen()
        answers.compact(lambda: (row["url_key"] for row in work.rows_of("addresses")))
        _write_down(work, answers)


def retry(folder: Path) -> int:
    """Has the next run in `folder` ask again for what failed for a passing reason; how many addresses these are."""
    count = 0
    stage = folder / "stages" / "fetched"
    known = {f"{receipt.shard:05d}.answers" for receipt in stage_receipts(stage)}
    names = known | {path.name for path in entries(stage) if path.suffix == ".answers"}
    for path in (stage / name for name in sorted(names) if size_of(stage / name) is not None):
        with kept_at(path) as file, Answers(file) as answers:
            if again := answers.forget_passing():
                undo(path.with_suffix(""))
                count += again
    return count


def _last(wanted: Wanted) -> Iterable[Try]:
    """The last try at each source."""
    return {one.source: one for one in wanted.tries}.values()


def _anew(answer: Answer, under: str) -> bool:
    """Whether a failure under other settings is worth another request."""
    return answer.reason != "ok" and answer.reason not in _SAID and answer.under != under


def _write_down(work: Work, answers: Answers) -> None:
    found_table, attempts = work.table("answers", ANSWERS), work.table("attempts", ATTEMPTS)
    reasons: Counter[str] = Counter()
    for row in work.rows_of("addresses"):
        found = answers.find(row["url_key"])
        if found is None:
            continue
        answer, place, size = found
        had = answer.reason == "ok"
        reasons[answer.reason] += 1
        work.rows_in += 1
        work.rows_out += had
        found_table.write(
            {
                "url_key": answer.key,
                "url": answer.url,
                "reason": answer.reason,
                "detail": answer.detail,
                "headers": json.dumps(answer.headers),
                "part": work.shard,
                "place": place if had else None,
                "size": size if had else None,
            }
        )
    for answer in answers.all():
        for number, made in enumerate(answer.tries, 1):
            shown = {name.replace("-", "_"): _text(made["headers"], name) for name in _SHOWN}
            when = datetime.fromtimestamp(made["when"], UTC)
            row = {name: made[name] for name in ("source", "seconds", "status", "reason", "detail")}
            row |= {"url": answer.url, "number": number, "when": when, "bytes": made["size"], "final_url": made["url"]}
            attempts.write(row | shown)
    work.notes = {"answers": dict(sorted(reasons.items()))}


def _text(headers: Iterable[Iterable[str]], name: str) -> str | None:
    """All values of one header, or None where it was not sent."""
    values = [value for key, value in headers if key == name]
    return ", ".join(values) if values else None
