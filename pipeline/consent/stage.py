"""Documents in; those whose page does not say no to training out, without the images that do.

`asked` puts the questions that are one for the whole corpus: lists are joined as keys, each host is asked once, the
registry in batches. `ask_consent` is the stage that puts their answers and what the page itself says together.
"""

from collections.abc import Iterable
from datetime import UTC
from typing import TYPE_CHECKING, Any

from pipeline.consent.addresses import list_addresses, names_of
from pipeline.consent.captures import index_captures
from pipeline.consent.finding import PAGE, Finding, decisive, write_evidence
from pipeline.consent.headers import said
from pipeline.consent.hosts import ask_hosts, weigh
from pipeline.consent.lists import list_keys
from pipeline.consent.spawning import ask_registry
from pipeline.document import Document, Node
from pipeline.errors import UserError
from pipeline.keys import WANTED, wanted_rows
from pipeline.stages import files, numbered
from pipeline.storage import list_warcs
from pipeline.work import Work

if TYPE_CHECKING:
    from pipeline.config import Consent
    from pipeline.run import Run
    from pipeline.stages import Answer, Stage


def asked(run: "Run", documents: "Stage") -> "dict[str, Stage | Answer]":
    """What the lists, the hosts and the registry answer, as inputs of `ask_consent`; none where none is asked.

    Raises UserError where one of these could not be had: what is not known is not taken for a yes.
    """
    c = run.config.consent
    hosts = c.asks_hosts or bool(c.robots.captures)
    if not (hosts or c.lists or c.spawning):
        return {}
    addresses = run.each("consent/asked", list_addresses, c, documents=documents)
    answers: dict[str, Stage | Answer] = {"addresses": addresses}
    if c.lists:
        listed = _whole(run.each("consent/lists", list_keys, list=files("list", c.lists)), len(c.lists))
        answers["listed"] = run.sql(
            "consent/listed", query="listed", keys=addresses.table("keys"), listed=listed.table("listed")
        )
    if not (hosts or c.spawning):
        return answers
    wanted = addresses.table("addresses")
    buckets = numbered("bucket", len(documents.prefixes))
    size = len(buckets.prefixes)
    by_host = run.sql("consent/by_host", query="by_host", addresses=wanted, buckets=size)
    if hosts:
        inputs: dict[str, Stage | Answer | None] = {"buckets": buckets, "addresses": by_host}
        if c.robots.captures:
            paths = list_warcs(c.robots.captures, "consent.robots.captures")
            captures = _whole(run.each("consent/captures", index_captures, warc=files("warc", paths)), len(paths))
            inputs["captures"] = run.sql(
                "consent/wanted_captures",
                query="wanted_captures",
                addresses=wanted,
                captures=captures.table("captures"),
                buckets=size,
            )
        if c.asks_hosts:
            inputs["answers"] = _whole(run.each("consent/hosts", ask_hosts, c, **inputs), size)
        weighed = _whole(run.each("consent/weighed", weigh, c, **inputs), size)
        answers["hosts"] = run.sql("consent/hosts_said", query="findings", findings=weighed.table("consent"))
    if c.spawning:
        told = run.each("consent/registry", ask_registry, (c.spawning, c.requests), buckets=buckets, addresses=by_host)
        answers["registry"] = run.sql(
            "consent/registry_said", query="findings", findings=_whole(told, size).table("consent")
        )
    return answers


def _whole(stage: "Stage", shards: int) -> "Stage":
    """A shard that failed would be a voice that is not heard."""
    if len(stage.prefixes) < shards:
        raise UserError(f"{stage.name}: {shards - len(stage.prefixes)} of {shards} shards failed; see `carnac status`")
    return stage


def ask_consent(work: Work, settings: "Consent") -> None:
    """A page's own refusal drops the page; a refused image drops the image."""
    wanted = work.table("wanted", WANTED)
    told = _Told(work)
    # Of a licence that a header names more is known here where it was read.
    heeded = [name for name in settings.signals if not (name == "rsl" and settings.rsl.live)]
    for document in work.documents():
        findings = _of_page(document, heeded, told)
        write_evidence(work, document, document.url, findings)
        if no := decisive(findings, settings.strict):
            work.drop(document, "document", *no.drop)
            continue
        kept: list[Node] = []
        for node in document.nodes:
            if node.image is not None:
                findings = told.of(document, node.position, node.image.url)
                write_evidence(work, document, node.image.url, findings, node.position)
                if no := decisive(findings, settings.strict):
                    work.drop(document, "image", *no.drop, node.image.url, node.position)
                    continue
            kept.append(node)
        document.nodes = kept
        if work.keep_whole(document):
            for row in wanted_rows(document):
                wanted.write(row)


def _of_page(document: Document, heeded: Iterable[str], told: "_Told") -> list[Finding]:
    """What headers and meta elements say, and others of the page. TDMRep: these override the file of the host."""
    own = said(document.signals, list(heeded))
    overridden = any(finding.signal == "tdm_reservation" for finding in own)
    others = told.of(document, PAGE, document.url)
    return own + [found for found in others if not (overridden and found.signal == "tdm_reservation")]


class _Told:
    """What lists, hosts and the registry say of the addresses of this shard, by row and position."""

    def __init__(self, work: Work) -> None:
        self.listed = {(row["row"], row["position"]): row["name"] for row in work.verdicts("listed")}
        self.findings: dict[tuple[int, int], list[Finding]] = {}
        for name in ("hosts", "registry"):
            for row in work.verdicts(name):
                self.findings.setdefault((row["row"], row["position"]), []).append(_finding(row))

    def of(self, document: Document, position: int, url: str) -> list[Finding]:
        key = document.row, position
        found = []
        if (name := self.listed.get(key)) is not None:
            found.append(Finding("refused", "opt_out_list", "", names_of(url)[name]))
        return found + self.findings.get(key, [])


def _finding(row: dict[str, Any]) -> Finding:
    when = row["when"].replace(tzinfo=UTC) if row["when"] else None
    return Finding(row["says"], row["signal"], row["where"], row["value"], when)
