"""Rules applied to documents: what each drops and no more, in their order, with the evidence in the ledger."""

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from filters.text import Text
from filters.verdict import Verdict
from pipeline.config import ImageRules, RuleSet
from pipeline.document import END_OF_DOCUMENT
from pipeline.judge import judge, judge_images
from tests.documents import document, image, pieces, run_stage

LONG = "a paragraph that is long enough to stay"
WORDS = {"number_of_words": {"min": 4, "max": 9}}


def rules(**rooms: dict[str, Any]) -> RuleSet:
    return RuleSet.model_validate(rooms)


def test_without_rules_every_document_comes_out_as_it_went_in(tmp_path: Path) -> None:
    made = [document("one", image(), END_OF_DOCUMENT, "two\n\nthree", row=row) for row in range(3)]
    done = run_stage(judge, rules(), made, tmp_path)
    assert done.kept == made
    assert (done.receipt.rows_in, done.receipt.rows_out, done.receipt.drops, done.ledger) == (3, 3, {}, [])


def test_a_dropped_paragraph_leaves_the_others(tmp_path: Path) -> None:
    made = document(f"{LONG} 1\n\nshort\n\n{LONG} 2", image(), f"too short\n\n{LONG} 3")
    done = run_stage(judge, rules(paragraph=WORDS), [made], tmp_path)
    assert [pieces(page) for page in done.kept] == [[f"{LONG} 1\n\n{LONG} 2", image().url, f"{LONG} 3"]]
    assert [(line["position"], line["paragraph"], line["excerpt"]) for line in done.ledger] == [
        (0, 1, "short"),
        (2, 0, "too short"),
    ]
    assert done.receipt.drops == {"paragraph": {"number_of_words": 2}}


def test_a_text_without_a_paragraph_left_goes_and_the_others_keep_their_positions(tmp_path: Path) -> None:
    [kept] = run_stage(judge, rules(paragraph=WORDS), [document("short", image(), LONG)], tmp_path).kept
    assert [(node.position, node.text) for node in kept.nodes] == [(1, None), (2, LONG)]


def test_a_blank_paragraph_goes_without_a_word(tmp_path: Path) -> None:
    done = run_stage(judge, rules(), [document(f"{LONG}\n\n \n\n\n\n{LONG}", "  ", image())], tmp_path)
    assert pieces(done.kept[0]) == [f"{LONG}\n\n{LONG}", image().url]
    assert done.ledger == []


def test_the_mark_of_a_documents_end_is_never_judged(tmp_path: Path) -> None:
    mark = END_OF_DOCUMENT
    everything = {"number_of_words": {"min": 4, "max": 9}, "stop_words": {"min": 0.9}, "common_words": {"min": 1}}
    made = document(mark, image(), f"who are they to me\n\n{mark}\n\nwhat are you to me")
    done = run_stage(judge, rules(paragraph=everything), [made], tmp_path)
    assert done.ledger == []
    assert pieces(done.kept[0]) == pieces(made)


def test_the_mark_of_a_documents_end_is_no_word_of_the_document(tmp_path: Path) -> None:
    made = document("one two", END_OF_DOCUMENT, f"three\n\n{END_OF_DOCUMENT}\n\nfour")
    counted = rules(document={"number_of_words": {"min": 5, "max": 9}})
    [line] = run_stage(judge, counted, [made], tmp_path).ledger
    assert line["value"] == "4"


@pytest.mark.parametrize("order", [["number_of_words", "stop_words"], ["stop_words", "number_of_words"]])
@pytest.mark.parametrize("room", ["paragraph", "document"])
def test_of_several_broken_rules_the_first_is_named(order: list[str], room: str, tmp_path: Path) -> None:
    both = {"number_of_words": {"min": 4, "max": 9}, "stop_words": {"min": 0.5}}
    chosen = rules(**{room: {name: both[name] for name in order}})
    done = run_stage(judge, chosen, [document("Grey herons", image())], tmp_path)
    assert done.dropped == [(room, order[0])]


@pytest.mark.parametrize("order", list(permutations(["number_of_words", "pii_emails", "stop_words"])))
def test_rules_that_take_one_text_and_rules_that_take_several_keep_their_order(
    order: tuple[str, ...], tmp_path: Path
) -> None:
    bounds = {"number_of_words": {"min": 3, "max": 9}, "pii_emails": {"max": 0}, "stop_words": {"min": 0.5}}
    broken = {  # by the paragraph, the rules that it breaks
        "Grey herons": {"number_of_words", "stop_words"},
        "write to heron@water.example": {"pii_emails", "stop_words"},
        "this is all of it to me": set(),
        "to heron@water.example": {"number_of_words", "pii_emails"},
        "heron@water.example": {"number_of_words", "pii_emails", "stop_words"},
    }
    chosen = rules(paragraph={name: bounds[name] for name in order})
    done = run_stage(judge, chosen, [document("\n\n".join(broken), image())], tmp_path)
    expected = [next(name for name in order if name in of_one) for of_one in broken.values() if of_one]
    assert [rule for _, rule in done.dropped] == expected


def test_an_image_is_judged_by_what_the_page_states_and_takes_only_itself(tmp_path: Path) -> None:
    small = image("http://host.example/small.png", rendered_width="20", rendered_height="600")
    unknown, large = (
        image("http://host.example/unknown.png"),
        image("http://host.example/large.png", rendered_width="640px"),
    )
    stated = rules(image={"rendered_size": {"min": 150, "max": 20000}})
    done = run_stage(judge, stated, [document(small, LONG, unknown, large)], tmp_path)
    assert [pieces(page) for page in done.kept] == [[LONG, unknown.url, large.url]]
    [line] = done.ledger
    assert {key: line[key] for key in ("level", "rule", "position", "paragraph", "value", "bound", "excerpt")} == {
        "level": "image",
        "rule": "rendered_size",
        "position": 0,
        "paragraph": None,
        "value": "20 x 600",
        "bound": "at least 150",
        "excerpt": small.url,
    }


def test_a_document_is_judged_by_what_the_other_rules_left_of_it(tmp_path: Path) -> None:
    chosen = rules(
        image={"rendered_size": {"min": 150, "max": 20000}},
        paragraph=WORDS,
        document={"number_of_images": {"min": 1, "max": 9}, "number_of_words": {"min": 8, "max": 99}},
    )
    pages = [
        document(LONG, image(rendered_width="20"), row=0),
        document("short", "short", "short", "short", image(), row=1),
        document(LONG, image(), row=2),
    ]
    done = run_stage(judge, chosen, pages, tmp_path)
    assert [page.row for page in done.kept] == [2]
    assert [(line["row"], line["rule"]) for line in done.ledger if line["level"] == "document"] == [
        (0, "number_of_images"),
        (1, "number_of_words"),
    ]


def test_the_ledger_holds_the_place_the_value_the_bound_and_a_bounded_excerpt(tmp_path: Path) -> None:
    text = "\n".join(f"word{number}\tand" for number in range(5000))
    made = document(text, image(), row=7, url="http://long.example/")
    [line] = run_stage(judge, rules(document={"number_of_words": {"min": 1, "max": 2000}}), [made], tmp_path).ledger
    assert (line["shard"], line["row"], line["url"], line["level"]) == (0, 7, "http://long.example/", "document")
    assert (line["position"], line["paragraph"]) == (None, None)
    assert (line["rule"], line["value"], line["bound"]) == ("number_of_words", "10000", "at most 2000")
    assert line["excerpt"] == " ".join(text.split())[:160]


def test_a_fraction_is_written_with_six_figures(tmp_path: Path) -> None:
    [line] = run_stage(
        judge, rules(paragraph={"stop_words": {"min": 0.5}}), [document("the old mill")], tmp_path
    ).ledger
    assert (line["value"], line["bound"]) == ("0.333333", "at least 0.5")


def test_a_document_on_which_a_rule_fails_is_quarantined_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def number_of_words(text: Text, *, min: int, max: int) -> Verdict:
        if "heron" in text.text:
            raise KeyError("heron")
        return Verdict(True, 1, "")

    monkeypatch.setattr("filters.text.number_of_words", number_of_words)
    monkeypatch.setattr(number_of_words, "__module__", "filters.text")
    made = [document("a grey heron", row=0), document("a white stork", row=1)]
    done = run_stage(judge, rules(document={"number_of_words": {"min": 1, "max": 9}}), made, tmp_path)
    assert [kept.row for kept in done.kept] == [1]
    assert [(row["rule"], row["value"]) for row in done.ledger] == [
        ("quarantined", "number_of_words: KeyError: 'heron'")
    ]


def test_once_images_were_seen_their_sets_are_written_down(tmp_path: Path) -> None:
    made = [document("text", image("http://a.example/1"), row=0), document("text", image("http://a.example/1"), row=1)]
    done = run_stage(judge_images, ImageRules(), made, tmp_path)
    first, second = done.rows("sets")
    assert first["key"] == second["key"]
    assert (second["shard"], second["row"]) == (0, 1)
