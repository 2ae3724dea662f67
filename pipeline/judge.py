"""Documents in; those that the configured rules keep out, without the paragraphs and images that a rule drops."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from filters.text import Text
from filters.verdict import Verdict
from pipeline import rules
from pipeline.document import END_OF_DOCUMENT, Document, Node, paragraphs
from pipeline.keys import IMAGE_SETS, image_set_key
from pipeline.rules import Rule
from pipeline.work import QUARANTINED, Work

if TYPE_CHECKING:
    from pipeline.config import RuleSet


def judge(work: Work, settings: "RuleSet") -> None:
    """Applies the rules: to each image, to each paragraph alone, then to what is left of the document."""
    for document in judged(work, settings):
        work.keep(document)


def judge_images(work: Work, settings: "RuleSet") -> None:
    """The same, once images were seen; writes down which images a document has left, for the decision over their sets."""
    sets = work.table("sets", IMAGE_SETS)
    for document in judged(work, settings):
        work.keep(document)
        identity = {"shard": document.shard, "row": document.row}
        date = int(document.crawl_date.timestamp())
        sets.write(identity | {"set_key": image_set_key(document), "crawl_date": date})


def judged(work: Work, settings: "RuleSet") -> Iterator[Document]:
    """The documents that the rules keep. One on which a rule fails is quarantined: the rule and its error are told, and
    the rest goes on."""
    # The widest rooms: which rules may stand in which section was checked when the configuration was read.
    for_image = rules.load(settings.image, "seen image")
    for_paragraph = rules.load(settings.paragraph, "paragraph")
    for_document = rules.load(settings.document, "seen document")
    for document in work.documents():
        try:
            drop_images(work, document, for_image)
            drop_paragraphs(work, document, for_paragraph)
            kept = keep_document(work, document, for_document)
        except _Failed as error:
            work.drop(document, "document", QUARANTINED, Verdict(False, str(error), "an answer"))
            continue
        if kept:
            yield document


class _Failed(Exception):
    """A rule raised; the message names it and what it raised."""


def _first_broken(judges: list[Rule], subject: Any) -> tuple[str, Verdict] | None:
    for rule in judges:
        try:
            verdict: Verdict = rule.judge(subject)
        except Exception as error:
            raise _Failed(f"{rule.name}: {type(error).__name__}: {error}"[:200]) from error
        if not verdict.keep:
            return rule.name, verdict
    return None


def drop_images(work: Work, document: Document, judges: list[Rule]) -> None:
    """Takes the images that a rule drops out of the document."""
    kept = []
    for node in document.nodes:
        if node.image is not None and (broken := _first_broken(judges, node.image)):
            work.drop(document, "image", *broken, node.image.url, node.position)
        else:
            kept.append(node)
    document.nodes = kept


def drop_paragraphs(work: Work, document: Document, judges: list[Rule]) -> None:
    """Takes the paragraphs that a rule drops out of the document; a text node without any left goes."""
    kept: list[Node] = []
    for node in document.nodes:
        if node.text is None:
            kept.append(node)
            continue
        left = []
        for number, paragraph in enumerate(paragraphs(node.text)):
            if not paragraph.strip():
                continue
            if paragraph != END_OF_DOCUMENT and (broken := _first_broken(judges, Text(paragraph))):
                work.drop(document, "paragraph", *broken, paragraph, node.position, number)
            else:
                left.append(paragraph)
        if left:
            kept.append(Node(node.position, "\n\n".join(left)))
    document.nodes = kept


def keep_document(work: Work, document: Document, judges: list[Rule]) -> bool:
    """Whether all rules keep the document; the first that does not is written to the ledger."""
    text = document_text(document)
    for rule in judges:
        if broken := _first_broken([rule], document if rule.takes == "document" else text):
            work.drop(document, "document", *broken, text.text)
            return False
    return True


def document_text(document: Document) -> Text:
    """The paragraphs of all texts, with a blank line between texts and without marks of a document's end."""
    return Text("\n\n".join(document.texts).replace(END_OF_DOCUMENT, ""))
