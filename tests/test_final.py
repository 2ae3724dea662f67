"""RuleSet processing: neighbouring texts become one, marks of a document's end stand once and never last."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import RuleSet
from pipeline.document import END_OF_DOCUMENT as END
from pipeline.document import Node, paragraphs
from pipeline.final import finish, joined
from tests.documents import IMAGE, document, image, pieces, run_stage, write_verdicts

IMG = IMAGE.url
CHROME = RuleSet(paragraph={"web_chrome_words": {"max": 0.12}})


def nodes(*parts: str) -> list[Node]:
    """Texts, and images where IMG stands."""
    return document(*(image() if part == IMG else part for part in parts)).nodes


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], []),
        (["a"], ["a"]),
        ([IMG], [IMG]),
        (["a", "b"], ["a\n\nb"]),
        (["a\n\nb", "c", "d"], ["a\n\nb\n\nc\n\nd"]),
        (["a", IMG, "b"], ["a", IMG, "b"]),
        (["a", IMG, IMG, "b", "c"], ["a", IMG, IMG, "b\n\nc"]),
        (["a", END, "b"], [f"a\n\n{END}\n\nb"]),
        (["a", END, END, "b"], [f"a\n\n{END}\n\nb"]),
        ([f"a\n\n{END}", f"{END}\n\nb"], [f"a\n\n{END}\n\nb"]),
        ([f"a\n\n{END}\n\n{END}\n\nb"], [f"a\n\n{END}\n\nb"]),
        (["a", END, "b", END, "c"], [f"a\n\n{END}\n\nb\n\n{END}\n\nc"]),
        (["a", END, IMG, END, "b"], [f"a\n\n{END}", IMG, f"{END}\n\nb"]),
        (["a", END], ["a"]),
        (["a", END, END], ["a"]),
        ([f"a\n\n{END}\n\n{END}"], ["a"]),
        (["a", IMG, END], ["a", IMG]),
        (["a", IMG, END, END], ["a", IMG]),
        (["a", END, IMG], [f"a\n\n{END}", IMG]),
        ([END, "a"], [f"{END}\n\na"]),
        ([END], []),
        ([END, END], []),
        ([IMG, END, IMG], [IMG, END, IMG]),
    ],
)
def test_texts_are_joined_and_marks_collapse_and_none_ends_a_page(before: list[str], after: list[str]) -> None:
    assert [node.text if node.image is None else IMG for node in joined(nodes(*before))] == after


parts = st.lists(st.sampled_from(["a", "b\n\nc", END, f"{END}\n\nd", f"e\n\n{END}", IMG]), max_size=12)


@given(parts)
def test_joining_keeps_every_paragraph_and_image_in_order_and_joins_all_there_is(before: list[str]) -> None:
    def flat(found: list[Node]) -> list[str]:
        return [part for node in found for part in (paragraphs(node.text) if node.text is not None else [IMG])]

    given_nodes, after = nodes(*before), joined(nodes(*before))
    assert [part for part in flat(after) if part != END] == [part for part in flat(given_nodes) if part != END]
    assert (END, END) not in set(pairwise(flat(after)))
    assert flat(after)[-1:] != [END]
    kinds = [node.image is None for node in after]
    assert (True, True) not in set(pairwise(kinds))
    assert [node.position for node in after] == sorted(node.position for node in after)
    assert [node.position for node in after if node.image] == [node.position for node in given_nodes if node.image]
    assert joined(after) == after


def test_a_paragraph_of_web_chrome_goes_and_its_neighbours_are_joined(tmp_path: Path) -> None:
    made = document("The mill stands.", "Share on facebook and twitter", "The river runs.", image(), "It was old.")
    done = run_stage(finish, CHROME, [made], tmp_path)
    assert [pieces(page) for page in done.kept] == [["The mill stands.\n\nThe river runs.", IMG, "It was old."]]
    [line] = done.ledger
    assert (line["level"], line["rule"], line["position"], line["paragraph"]) == ("paragraph", "web_chrome_words", 1, 0)
    assert (line["bound"], line["excerpt"]) == ("below 0.12", "Share on facebook and twitter")


def test_marks_on_both_sides_of_what_is_dropped_become_one(tmp_path: Path) -> None:
    made = document(image(), f"one\n\n{END}", "share tweet subscribe", f"{END}\n\ntwo", END)
    assert pieces(run_stage(finish, CHROME, [made], tmp_path).kept[0]) == [IMG, f"one\n\n{END}\n\ntwo"]


def test_a_document_without_a_text_or_an_image_left_goes(tmp_path: Path) -> None:
    pages = [
        document("share tweet subscribe", image(), row=0),
        document(END, image(), row=1),
        document("The mill stands.", row=2),
        document("The mill stands.", image(), row=3),
    ]
    done = run_stage(finish, CHROME, pages, tmp_path)
    assert [page.row for page in done.kept] == [3]
    assert [(line["row"], line["rule"]) for line in done.ledger if line["level"] == "document"] == [
        (0, "text_and_image"),
        (1, "text_and_image"),
        (2, "text_and_image"),
    ]


def test_of_documents_with_the_same_images_the_older_goes_for_its_twin(tmp_path: Path) -> None:
    verdicts = write_verdicts(tmp_path / "sets", 0, [{"row": 1, "twin_shard": 3, "twin_row": 0}])
    pages = [document("text", image(), row=row) for row in range(3)]
    done = run_stage(finish, RuleSet(), pages, tmp_path, latest_image_set=verdicts)
    assert [page.row for page in done.kept] == [0, 2]
    [line] = done.ledger
    assert (line["row"], line["rule"], line["value"]) == (1, "latest_image_set", "3:0")
    assert line["bound"] == "one document of these images"
