"""Documents in; the same with the facts of their images out, less those that are not to be had; bytes beside them."""

import json
from collections.abc import Iterable
from functools import cache, partial
from typing import TYPE_CHECKING

import pyarrow as pa

from filters.verdict import Verdict
from pipeline.answers import read_body
from pipeline.canonical import canonical_url
from pipeline.consent.embedded import image_findings
from pipeline.consent.finding import Finding, decisive, write_evidence
from pipeline.consent.headers import refusal
from pipeline.digests import payload_digest
from pipeline.document import Document, Hole, Image, Node
from pipeline.html.address import inline_image
from pipeline.models.clip import Aesthetic, Clip, neighbours
from pipeline.models.nsfw import Nsfw
from pipeline.pixels import HASHES, Facts, look
from pipeline.signals import header_signals
from pipeline.warc import read_at
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import AestheticModel, ClipModel, Consent, Images, ImageScores, NsfwModel

PIXELS = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("position", pa.int32()),
        ("path", pa.string()),
        ("bytes", pa.binary()),
    ]
)


def get_images(work: Work, settings: "tuple[Images, Consent]") -> None:
    """Asks the sources in their order; an image that none has, or that does not decode, leaves with the reason. What is
    left is decoded once, for its facts and for all models that score it."""
    images, consent = settings
    pixels = work.table("pixels", PIXELS)
    scorers = _Scorers(images.scores)
    decode = partial(look, max_bytes=images.max_bytes, max_pixels=images.max_pixels, seconds=images.seconds)
    # What a mirror or the web was asked for, in their order, has one answer.
    names = dict.fromkeys("crawl" if name == "crawl" else "asked" for name in images.sources)
    sources = [_Crawl(work, consent) if name == "crawl" else _Asked(work, consent) for name in names]
    for document in work.documents():
        kept: list[Node] = []
        facts: dict[int, Facts] = {}
        for node in document.nodes:
            if node.image is None:
                kept.append(node)
                continue
            if node.image.url.startswith("data:"):
                answer: Outcome = inline_image(node.image.url)
            else:
                answer = _first(source.get(document, node.position, node.image) for source in sources)
            if isinstance(answer, bytes):
                findings = list(image_findings(answer, consent.signals))
                write_evidence(work, document, node.image.url, findings, node.position)
                if no := decisive(findings, consent.strict):
                    work.drop(document, "image", *no.drop, node.image.url, node.position)
                    document.holes.append(Hole(node.position, no.drop[0], None))
                    continue
                seen = decode(answer, readers=scorers.readers)
                if isinstance(seen, Facts):
                    facts[node.position] = seen
                    _write_down(node.image, seen)
                    kept.append(node)
                    row = {"shard": document.shard, "row": document.row, "position": node.position}
                    pixels.write(row | {"path": node.image.url, "bytes": answer}, len(answer))
                    continue
                answer = BROKEN, Verdict(False, seen.reason, "decodes")
            rule, verdict = answer
            if rule in consent.signals:
                said = Finding("not_checked" if verdict.bound == "checked" else "refused", rule, "", str(verdict.value))
                write_evidence(work, document, node.image.url, [said], node.position)
            reason = str(verdict.value).partition(":")[0] if rule in (MISSING, BROKEN) else ""
            work.drop(document, "image", rule, verdict, node.image.url, node.position, reason=reason)
            document.holes.append(Hole(node.position, reason or rule, node.image.url if reason else None))
        document.nodes = kept
        scorers.score(document, facts)
        work.keep(document)


def _write_down(image: Image, seen: Facts) -> None:
    for name in ("format", "width", "height", "size", "frames", "sha256", "phash", "pdq"):
        setattr(image, name, getattr(seen, name))


class _Scorers:
    """The models that are asked about images, each loaded once a process."""

    def __init__(self, asked: "ImageScores") -> None:
        self.nsfw = _nsfw(asked.nsfw) if asked.nsfw else None
        self.clip = _clip(asked.clip) if asked.clip else None
        self.aesthetic = _aesthetic(asked.aesthetic) if asked.aesthetic else None
        models = [model for model in (self.nsfw, self.clip, self.aesthetic) if model is not None]
        self.readers = list({model.reader.name: model.reader for model in models}.values())
        if asked.hashes:
            self.readers.append(HASHES)

    def score(self, document: Document, facts: dict[int, Facts]) -> None:
        """Writes what the models say into the document's images; `facts` by position."""
        for node in document.nodes:
            if node.image is None:
                continue
            read = facts[node.position].read
            if self.nsfw is not None:
                node.image.scores |= self.nsfw.score([read[self.nsfw.reader.name]])[0]
            if self.clip is not None:
                beside = neighbours(document, node.position)
                node.image.scores |= self.clip.score([read[self.clip.reader.name]], [beside])[0]
            if self.aesthetic is not None:
                node.image.scores |= self.aesthetic.score([read[self.aesthetic.reader.name]])[0]


@cache
def _nsfw(asked: "NsfwModel") -> Nsfw:
    return Nsfw(asked.model, asked.device, asked.labels)


@cache
def _clip(asked: "ClipModel") -> Clip:
    return Clip(asked.checkpoint, asked.device)


@cache
def _aesthetic(asked: "AestheticModel") -> Aesthetic:
    return Aesthetic(asked.checkpoint, asked.head, asked.device)


# A typed hole: why there is no image, of which only the reason counts, or why what there is does not decode.
MISSING, BROKEN = "image_missing", "image_broken"
Outcome = bytes | tuple[str, Verdict]
NOWHERE: Outcome = MISSING, Verdict(False, "not in the crawl", "a source that has it")


def _first(answers: Iterable[Outcome]) -> Outcome:
    """The first answer that is an image or a refusal; a source that has none lets the next one try."""
    last = NOWHERE
    for answer in answers:
        if answer != NOWHERE:
            last = answer
        if isinstance(answer, bytes) or answer[0] != MISSING:
            return answer
    return last


class _Crawl:
    """The crawl's own image records: for each image of this shard, the one nearest in time that the query found."""

    def __init__(self, work: Work, consent: "Consent") -> None:
        self.consent = consent
        self.places = {(row["row"], row["position"]): row for row in work.rows_of("records")}

    def get(self, document: Document, position: int, image: Image) -> Outcome:
        place = self.places.get((document.row, position))
        if place is None:
            return NOWHERE
        record = read_at(place["warc"], place["record_offset"], place["record_length"])
        if place["revisit"]:
            same = key64(payload_digest(record).text) == place["payload_key"]
        else:
            same = canonical_url(record.url) == canonical_url(image.url)
        if not same:  # two addresses or digests with one key
            return NOWHERE
        if no := refusal(header_signals(record.headers), self.consent.signals, self.consent.strict):
            return no
        if record.truncated:
            return BROKEN, Verdict(False, "truncated in the crawl", "decodes")
        return record.body


class _Asked:
    """What a mirror or the web answered when the addresses of all shards were asked for."""

    def __init__(self, work: Work, consent: "Consent") -> None:
        self.consent = consent
        self.folder = work.stages / "fetched"
        self.places = {(row["row"], row["position"]): row for row in work.rows_of("answers")}

    def get(self, document: Document, position: int, image: Image) -> Outcome:
        answer = self.places.get((document.row, position))
        if answer is None:
            return NOWHERE
        if answer["reason"] == "opted_out":
            rule, _, evidence = answer["detail"].partition(": ")
            return rule, Verdict(False, evidence, "no refusal")
        if answer["reason"] != "ok":
            said = f"{answer['reason']}: {answer['detail']}" if answer["detail"] else answer["reason"]
            return MISSING, Verdict(False, said, "an image is served")
        # The answer may be older than the wish to heed this signal.
        if no := refusal(header_signals(json.loads(answer["headers"])), self.consent.signals, self.consent.strict):
            return no
        return read_body(self.folder / f"{answer['part']:05d}.answers", answer["place"], answer["size"])
