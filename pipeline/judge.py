"""Documents in; those that the configured rules keep out, without the paragraphs and images that a rule drops."""

from typing import TYPE_CHECKING

from filters.language import language
from filters.text import Text
from filters.verdict import Verdict
from pipeline import rules
from pipeline.document import END_OF_DOCUMENT, Document, Node, paragraphs
from pipeline.rules import Rule
from pipeline.work import Work

if TYPE_CHECKING:
    from pipeline.config import TextRules


def judge_texts(work: Work, settings: "TextRules") -> None:
    """Every rule that needs no pixels: images by what the page states, each paragraph alone, then the whole document."""
    for_image = rules.load(settings.image, "image")
    for_paragraph = rules.load(settings.paragraph, "paragraph")
    for_document = rules.load(settings.document, "document")
    for document in work.documents():
        drop_images(work, document, for_image)
        drop_paragraphs(work, document, for_paragraph)
        if keep_document(work, document, for_document):
            work.keep(document)


def drop_images(work: Work, document: Document, judges: list[Rule]) -> None:
    """Takes the images that a rule drops out of the document."""
    kept = []
    for node in document.nodes:
        broken = node.image and next(((r, v) for r in judges if not (v := r.judge(node.image)).keep), None)
        if node.image and broken:
            work.drop(document, "image", broken[0].name, broken[1], node.image.url, node.position)
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
            if paragraph.strip() != END_OF_DOCUMENT:
                text = Text(paragraph)
                broken = next(((r, v) for r in judges if not (v := r.judge(text)).keep), None)
                if broken:
                    work.drop(document, "paragraph", broken[0].name, broken[1], paragraph, node.position, number)
                    continue
            left.append(paragraph)
        if left:
            kept.append(Node(node.position, "\n\n".join(left)))
    document.nodes = kept


def keep_document(work: Work, document: Document, judges: list[Rule]) -> bool:
    """Whether all rules keep the document; the first that does not is written to the ledger."""
    text = Text("\n\n".join(document.texts).replace(END_OF_DOCUMENT, ""))
    for rule in judges:
        verdict: Verdict = rule.judge(document if rule.takes == "document" else text)
        if isinstance(rule.judge, language):
            document.language, document.language_score = rule.judge.identify(text)
        if not verdict.keep:
            work.drop(document, "document", rule.name, verdict, text.text)
            return False
    return True
