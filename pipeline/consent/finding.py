"""What one signal says of a page or an image: refused, allowed or not checked, with the evidence."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from filters.verdict import Verdict
from pipeline.document import Document
from pipeline.work import Work

PAGE = -1  # the position of the page itself, where those of images are 0 and more
Says = Literal["refused", "allowed", "not_checked"]
MAX_EVIDENCE = 200  # characters of it that are kept

# Beside each stage that asks for consent: a row for each refusal and for each thing that could not be checked.
EVIDENCE = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("position", pa.int32()),  # of the image, or PAGE
        ("url", pa.string()),  # which was asked for
        ("says", pa.string()),
        ("signal", pa.string()),
        ("where", pa.string()),
        ("value", pa.string()),
        ("when", pa.timestamp("s", tz="UTC")),  # the signal was seen; null: with the image
    ]
)


@dataclass(frozen=True, slots=True)
class Finding:
    """`where` a signal stands ("header x-robots-tag", "https://host/robots.txt"), the `value` found there, and `when`
    that was seen; None: with the page or the image itself."""

    says: Says
    signal: str
    where: str
    value: str
    when: datetime | None = None

    @property
    def drop(self) -> tuple[str, Verdict]:
        """The rule of that name and its verdict, for the ledger."""
        evidence = (f"{self.where}: {self.value}" if self.where else self.value)[:MAX_EVIDENCE]
        if self.says == "not_checked":
            return self.signal, Verdict(False, f"not checked, {evidence}"[:MAX_EVIDENCE], "checked")
        return self.signal, Verdict(False, evidence, "not listed" if self.signal == "opt_out_list" else "no refusal")


def decisive(findings: Iterable[Finding], strict: bool) -> Finding | None:
    """The finding for which something goes: the first refusal; if `strict`, else the first that was not checked."""
    unchecked = None
    for finding in findings:
        if finding.says == "refused":
            return finding
        if finding.says == "not_checked" and unchecked is None:
            unchecked = finding
    return unchecked if strict else None


def write_evidence(work: Work, document: Document, url: str, findings: Iterable[Finding], position: int = PAGE) -> None:
    """Writes what was found down, and counts what was not checked: in `Receipt.notes`, by signal."""
    table = work.table("consent", EVIDENCE)
    for finding in findings:
        if finding.says == "allowed":
            continue
        if finding.says == "not_checked":
            counts: dict[str, int] = work.notes.setdefault("not_checked", {})
            counts[finding.signal] = counts.get(finding.signal, 0) + 1
        place = {"shard": document.shard, "row": document.row, "position": position, "url": url}
        when = finding.when or (document.crawl_date if position == PAGE else None)
        table.write(place | _told(finding) | {"when": when})


def evidence(row: dict[str, Any], finding: Finding) -> dict[str, Any]:
    """A row of `EVIDENCE` for a row of addresses by host."""
    place = {"shard": row["of_shard"], "row": row["row"], "position": row["position"], "url": row["url"]}
    return place | _told(finding) | {"when": finding.when}


def _told(finding: Finding) -> dict[str, Any]:
    said = {"says": finding.says, "signal": finding.signal, "where": finding.where}
    return said | {"value": finding.value[:MAX_EVIDENCE]}
