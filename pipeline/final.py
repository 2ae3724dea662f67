"""Documents in; finished ones out: without web-chrome paragraphs, neighbouring texts joined, both text and images."""

from typing import TYPE_CHECKING

from pipeline import rules
from pipeline.document import END_OF_DOCUMENT, Node, paragraphs
from pipeline.judge import drop_paragraphs
from pipeline.verdicts import twin
from pipeline.work import Work

if TYPE_CHECKING:
    from pipeline.config import RuleSet


def finish(work: Work, settings: "RuleSet") -> None:
    for_paragraph = rules.load(settings.paragraph, "paragraph")
    twins = {row["row"]: twin(row, "one document of these images") for row in work.verdicts("latest_image_set")}
    for document in work.documents():
        if document.row in twins:
            work.drop(document, "document", "latest_image_set", twins[document.row])
            continue
        drop_paragraphs(work, document, for_paragraph)
        document.nodes = joined(document.nodes)
        work.keep_whole(document)


def joined(nodes: list[Node]) -> list[Node]:
    """Texts that stand next to each other become one; marks of a document's end that repeat, or end the page, go."""
    flat: list[Node] = []
    marked = False
    for node in nodes:
        if node.text is None:
            flat.append(node)
            marked = False
            continue
        left = []
        for paragraph in paragraphs(node.text):
            if paragraph != END_OF_DOCUMENT or not marked:
                left.append(paragraph)
            marked = paragraph == END_OF_DOCUMENT
        if not left:
            continue
        if flat and flat[-1].text is not None:
            flat[-1] = Node(flat[-1].position, "\n\n".join([flat[-1].text, *left]))
        else:
            flat.append(Node(node.position, "\n\n".join(left)))
    if marked and flat and flat[-1].text is not None:
        *rest, _ = paragraphs(flat[-1].text)
        flat[-1:] = [Node(flat[-1].position, "\n\n".join(rest))] if rest else []
    return flat
