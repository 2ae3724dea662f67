"""Documents in; those that the configured rules keep out, without the paragraphs and images that a rule drops."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from filters.text import Text, joined, together
from filters.verdict import Verdict
from pipeline import rules
from pipeline.document import END_OF_DOCUMENT, Document, Node, paragraphs
from pipeline.keys import KEYED, image_set_key, keyed_row
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
    sets = work.table("sets", KEYED)
    for document in judged(work, settings):
        work.keep(document)
        sets.write(keyed_row(document, image_set_key(document)))


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
            texts = drop_paragraphs(work, document, for_paragraph)
            kept = _keep_document(work, document, for_document, texts)
        except _Failed as error:
            work.drop(document, "document", QUARANTINED, Verdict(False, str(error), "an answer"))
            continue
        if kept:
            yield document


class _Failed(Exception):
    """A rule raised; the message names it and what it raised."""


def first_broken(judges: list[Rule], subject: Any) -> tuple[str, Verdict] | None:
    """The first of the rules that drops the subject, by its name, and what it says; None where all keep it."""
    for rule in judges:
        verdict = _ask(rule, subject)
        if not verdict.keep:
            return rule.name, verdict
    return None


def _ask(rule: Rule, subject: Any) -> Verdict:
    try:
        return rule.judge(subject)
    except Exception as error:
        raise _Failed(f"{rule.name}: {type(error).__name__}: {error}"[:200]) from error


def drop_images(work: Work, document: Document, judges: list[Rule]) -> None:
    """Takes the images that a rule drops out of the document."""
    kept = []
    for node in document.nodes:
        if node.image is not None and (broken := first_broken(judges, node.image)):
            work.drop(document, "image", *broken, node.image.url, node.position)
        else:
            kept.append(node)
    document.nodes = kept


def drop_paragraphs(work: Work, document: Document, judges: list[Rule]) -> list[Text]:
    """Takes the paragraphs that a rule drops out of the document; a text node without any left goes. What is left."""
    nodes = [[] if node.text is None else paragraphs(node.text) for node in document.nodes]
    judged = [paragraph for of_node in nodes for paragraph in of_node if _is_judged(paragraph)]
    verdicts = judge_texts(judges, judged)
    kept: list[Node] = []
    texts: list[Text] = []
    for node, of_node in zip(document.nodes, nodes, strict=True):
        if node.text is None:
            kept.append(node)
            continue
        left = []
        for number, paragraph in enumerate(of_node):
            if _is_judged(paragraph):
                text, broken = next(verdicts)
                if broken:
                    work.drop(document, "paragraph", *broken, paragraph, node.position, number)
                    continue
                texts.append(text)
            elif paragraph != END_OF_DOCUMENT:
                continue
            left.append(paragraph)
        if left:
            kept.append(Node(node.position, "\n\n".join(left)))
    document.nodes = kept
    return texts


def _is_judged(paragraph: str) -> bool:
    return paragraph != END_OF_DOCUMENT and bool(paragraph.strip())


def judge_texts(judges: list[Rule], texts: Sequence[str]) -> Iterator[tuple[Text, tuple[str, Verdict] | None]]:
    """Each text with the first rule that it breaks. Rules that take a batch say at once which texts they drop, so that a
    text by itself is asked about only the first of these, and those before it that take no batch."""
    asked = [[rule for rule in judges[:i] if rule.takes != "texts"] + judges[i : i + 1] for i in range(len(judges) + 1)]
    for batch in together(texts):
        first = np.full(len(batch.texts), len(judges))
        for i, rule in enumerate(judges):
            if rule.takes == "texts":
                first[~np.asarray(_ask(rule, batch).keep) & (first > i)] = i
        for at, i in enumerate(first.tolist()):
            text = Text(batch.texts[at], batch, at)
            yield text, first_broken(asked[i], text) if asked[i] else None


def _keep_document(work: Work, document: Document, judges: list[Rule], texts: list[Text]) -> bool:
    """Whether all rules keep the document; the first that does not is written to the ledger. `texts` are its paragraphs."""
    divided = any(END_OF_DOCUMENT in text for text in document.texts)
    text = document_text(document) if divided or not texts else joined(texts)
    for rule in judges:
        if broken := first_broken([rule], document if rule.takes == "document" else text):
            work.drop(document, "document", *broken, text.text)
            return False
    return True


def document_text(document: Document) -> Text:
    """The paragraphs of all texts, with a blank line between texts and without marks of a document's end."""
    return Text("\n\n".join(document.texts).replace(END_OF_DOCUMENT, ""))
