"""Documents in; the same with the facts of their images out, less those that are not to be had; bytes beside them."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from filters.verdict import Verdict
from pipeline.consent import refusal
from pipeline.document import Document, Image, Node
from pipeline.keys import canonical_url
from pipeline.pixels import Broken, Facts, look
from pipeline.signals import header_signals
from pipeline.warc import read_at
from pipeline.work import Work

if TYPE_CHECKING:
    from pipeline.config import Consent, Images

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
    """Asks the sources in their order; an image that none has, or that does not decode, leaves with the reason."""
    images, consent = settings
    pixels = work.table("pixels", PIXELS)
    sources: list[_Crawl | _Web] = []
    for name in images.sources:
        elsewhere = set(sources[0].places) if sources and isinstance(sources[0], _Crawl) else set()
        sources.append(_Crawl(work, consent) if name == "crawl" else _Web(work, images, consent, elsewhere))
    for document in work.documents():
        kept: list[Node] = []
        for node in document.nodes:
            if node.image is None:
                kept.append(node)
                continue
            answer = _first(source.get(document, node.position, node.image) for source in sources)
            if isinstance(answer, bytes):
                seen = look(answer, max_bytes=images.max_bytes, max_pixels=images.max_pixels, seconds=images.seconds)
                if isinstance(seen, Broken):
                    answer = "image_broken", Verdict(False, seen.reason, "decodes")
            if isinstance(answer, bytes):
                assert isinstance(seen, Facts)
                node.image.format, node.image.width, node.image.height = seen.format, seen.width, seen.height
                node.image.size, node.image.frames, node.image.sha256 = seen.size, seen.frames, seen.sha256
                kept.append(node)
                row = {"shard": document.shard, "row": document.row, "position": node.position}
                pixels.write(row | {"path": node.image.url, "bytes": answer}, len(answer))
            else:
                work.drop(document, "image", *answer, node.image.url, node.position)
        document.nodes = kept
        work.keep(document)


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
        if canonical_url(record.url) != canonical_url(image.url):  # two addresses with one key
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
