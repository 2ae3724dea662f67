"""Documents in; the same with the facts of their images out, less those that are not to be had; bytes beside them."""

from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from filters.verdict import Verdict
from pipeline.consent import refusal
from pipeline.digests import payload_digest
from pipeline.document import Document, Image, Node
from pipeline.keys import canonical_url
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
    sources: list[_Crawl | _Web] = []
    for name in images.sources:
        elsewhere = set(sources[0].places) if sources and isinstance(sources[0], _Crawl) else set()
        sources.append(_Crawl(work, consent) if name == "crawl" else _Web(work, images, consent, elsewhere))
    for document in work.documents():
        kept: list[Node] = []
        facts: dict[int, Facts] = {}
        for node in document.nodes:
            if node.image is None:
                kept.append(node)
                continue
            answer = _first(source.get(document, node.position, node.image) for source in sources)
            if isinstance(answer, bytes):
                seen = decode(answer, readers=scorers.readers)
                if isinstance(seen, Facts):
                    facts[node.position] = seen
                    _write_down(node.image, seen)
                    kept.append(node)
                    row = {"shard": document.shard, "row": document.row, "position": node.position}
                    pixels.write(row | {"path": node.image.url, "bytes": answer}, len(answer))
                    continue
                answer = "image_broken", Verdict(False, seen.reason, "decodes")
            work.drop(document, "image", *answer, node.image.url, node.position)
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


Answer = bytes | tuple[str, Verdict]
MISSING: Answer = "image_missing", Verdict(False, "not in the crawl", "a source that has it")


def _first(answers: Iterable[Answer]) -> Answer:
    """The first answer that is an image or a refusal; a source that has none lets the next one try."""
    last = MISSING
    for last in answers:
        if isinstance(last, bytes) or last[0] != "image_missing":
            return last
    return last


def _refusal_or_hole(status: str, detail: str) -> Answer:
    """Why the web gave no image: the rule of the signal that said no, or that it is missing, and the reason."""
    if status == "opted_out":
        rule, _, evidence = detail.partition(": ")
        return rule, Verdict(False, evidence, "no refusal")
    return "image_missing", Verdict(False, f"{status}: {detail}" if detail else status, "an image is served")


class _Crawl:
    """The crawl's own image records: for each image of this shard, the one nearest in time that the query found."""

    def __init__(self, work: Work, consent: "Consent") -> None:
        self.heeded = consent.signals
        self.places: dict[tuple[int, int], dict[str, Any]] = {
            (row["row"], row["position"]): row for row in work.verdicts("records")
        }

    def get(self, document: Document, position: int, image: Image) -> Answer:
        place = self.places.get((document.row, position))
        if place is None:
            return MISSING
        record = read_at(place["warc"], place["record_offset"], place["record_length"])
        if place["revisit"]:
            same = key64(payload_digest(record).text) == place["payload_key"]
        else:
            same = canonical_url(record.url) == canonical_url(image.url)
        if not same:  # two addresses or digests with one key
            return MISSING
        if no := refusal(header_signals(record.headers), self.heeded):
            return no
        if record.truncated:
            return "image_broken", Verdict(False, "truncated in the crawl", "decodes")
        return record.body


class _Web:
    """The live web. What this shard wants of it is fetched in one go, and held on disk until its documents come by."""

    def __init__(self, work: Work, images: "Images", consent: "Consent", elsewhere: set[tuple[int, int]]) -> None:
        from pipeline.download import DownloadSettings, download

        wanted = [
            node["image"]["url"]
            for row in work.rows("documents", "documents")
            for node in row["nodes"]
            if node["image"] is not None and (row["row"], node["position"]) not in elsewhere
        ]
        settings = DownloadSettings(**images.download.model_dump(), signals=consent.signals)
        folder = work.scratch
        self.answers: dict[str, Path | Answer] = {}
        for number, attempt in enumerate(download(wanted, settings, folder)):
            if attempt.data is not None:
                path = folder / str(number)
                path.write_bytes(attempt.data)
                self.answers[attempt.url] = path
            else:
                self.answers[attempt.url] = _refusal_or_hole(attempt.status, attempt.detail)

    def get(self, document: Document, position: int, image: Image) -> Answer:
        answer = self.answers.get(image.url, MISSING)
        return answer.read_bytes() if isinstance(answer, Path) else answer
