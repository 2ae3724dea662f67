"""Documents and the decisions taken over the whole corpus in; what those decisions leave of this shard out."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from filters.verdict import Verdict
from pipeline.canonical import canonical_url
from pipeline.document import Document, Node, paragraphs
from pipeline.work import Work

if TYPE_CHECKING:
    from pipeline.config import Duplicates


def twin(row: dict[str, Any], bound: str) -> Verdict:
    """The verdict that a document goes for another, which its value names as shard:row."""
    return Verdict(False, f"{row['twin_shard']}:{row['twin_row']}", bound)


def twin_named(value: str) -> tuple[int, int]:
    """Shard and row of the document that the value of such a verdict names."""
    shard, row = value.split(":")
    return int(shard), int(row)


def _copy(row: dict[str, Any]) -> Verdict:
    return twin(row, "one copy")


# What a query's row says of a whole document, by the rule that it is; of several rules the last is told.
OF_DOCUMENTS: dict[str, Callable[[dict[str, Any]], Verdict]] = {"near_duplicate": _copy, "latest_url": _copy}


def apply_verdicts(work: Work, settings: "Duplicates") -> None:
    """Each verdict names a place in this shard; a document's twin is named as shard:row."""
    gone = {row["row"]: (rule, said(row)) for rule, said in OF_DOCUMENTS.items() for row in work.verdicts(rule)}
    everywhere = {(row["row"], row["position"]): row["pages"] for row in work.verdicts("image_everywhere")}
    repeated = {
        (row["row"], row["position"], row["paragraph"]): row["pages"] for row in work.verdicts("paragraph_repeated")
    }
    for document in work.documents():
        if document.row in gone:
            work.drop(document, "document", *gone[document.row])
            continue
        kept: list[Node] = []
        seen: set[str] = set()
        for node in document.nodes:
            if node.image is None:
                if left := _without(work, document, node, repeated, settings):
                    kept.append(left)
                continue
            address = canonical_url(node.image.url)
            if pages := everywhere.get((document.row, node.position)):
                assert settings.image_everywhere is not None
                verdict = Verdict(False, f"on {pages} pages", f"at most {settings.image_everywhere.max}")
                work.drop(document, "image", "image_everywhere", verdict, node.image.url, node.position)
            elif settings.image_repeated and address in seen:
                verdict = Verdict(False, "seen before", "once in a document")
                work.drop(document, "image", "image_repeated", verdict, node.image.url, node.position)
            else:
                seen.add(address)
                kept.append(node)
        document.nodes = kept
        work.keep_whole(document)


def _without(
    work: Work, document: Document, node: Node, repeated: dict[tuple[int, int, int], int], settings: "Duplicates"
) -> Node | None:
    left = []
    site = settings.paragraph_repeated.by.replace("_", " ") if settings.paragraph_repeated else "site"
    for number, paragraph in enumerate(paragraphs(node.text or "")):
        if pages := repeated.get((document.row, node.position, number)):
            assert settings.paragraph_repeated is not None
            verdict = Verdict(False, f"on {pages} pages of the {site}", f"at most {settings.paragraph_repeated.max}")
            work.drop(document, "paragraph", "paragraph_repeated", verdict, paragraph, node.position, number)
        else:
            left.append(paragraph)
    return Node(node.position, "\n\n".join(left)) if left else None
