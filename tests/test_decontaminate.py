"""Decontamination: what an evaluation set holds leaves the corpus, the item is named, and bad sets are said in a line."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image as Pillow

from pipeline import config
from pipeline.benchmarks import columns
from pipeline.cli import main
from pipeline.config import Benchmark
from pipeline.errors import UserError
from pipeline.explain import explain
from pipeline.funnel import funnel
from tests.conftest import ROOT
from tests.crawls import page, photo, prose, write_warc

HTML = "text/html; charset=utf-8"
QUESTION = "Which of the seven bridges of the old town did the ferryman cross before the tide came back in?"


def plain(colour: str) -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", (300, 200), colour).save(out, "png")
    return out.getvalue()


Pages = list[tuple[list[str], list[bytes]]]


def write_crawl(folder: Path, pages: Pages) -> None:
    for number, (texts, images) in enumerate(pages):
        host = f"http://host{number}.example"
        names = [f"/{i}.jpg" for i in range(len(images))]
        responses = [(f"{host}/page", HTML, page(texts, names))]
        responses += [(host + name, "image/jpeg", data) for name, data in zip(names, images, strict=True)]
        write_warc(folder / "crawl" / f"{number}.warc.gz", responses)


def configuration(folder: Path, *sets: dict[str, Any]) -> Path:
    raw = {
        "name": "test",
        "output": str(folder / "out"),
        "input": {"paths": [str(folder / "crawl")]},
        "extract": {"method": "obelics"},
        "decontaminate": list(sets),
        "engine": {"workers": 1},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def jsonl(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def parquet(path: Path, *rows: dict[str, Any]) -> str:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return str(path)


def final(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """For each page that is left its text and its images."""
    files = sorted((folder / "out" / "stages" / "final").glob("*.documents.parquet"))
    rows = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
    return {
        row["url"]: (
            "\n\n".join(node["text"] for node in row["nodes"] if node["text"]),
            [node["image"]["url"] for node in row["nodes"] if node["image"]],
        )
        for row in rows
    }


def ledger(folder: Path, stage: str) -> list[tuple[str, str, str, str]]:
    files = sorted((folder / "out" / "stages" / stage).glob("*.ledger.parquet"))
    rows = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
    return [(row["url"], row["level"], row["rule"], row["value"]) for row in rows]


def test_a_page_that_holds_a_question_goes_whatever_its_case_and_marks_and_the_item_is_named(tmp_path: Path) -> None:
    shouted = "He asked: " + QUESTION.upper().replace(" ", "  ").replace("OLD", "«OLD»,") + " Nobody knew."
    write_crawl(tmp_path, [([*prose(0), shouted], [photo(0)]), (prose(1), [photo(1)])])
    path = jsonl(tmp_path / "vqa.jsonl", {"qid": "a", "q": "Too short?"}, {"qid": "b", "q": ["no", QUESTION]})
    made = configuration(tmp_path, {"name": "vqa", "path": path, "text": "q", "id": "qid"})
    assert main(["run", str(made)]) == 0
    assert list(final(tmp_path)) == ["http://host1.example/page"]
    assert ledger(tmp_path, "decontaminate") == [
        ("http://host0.example/page", "document", "decontaminate", "vqa:b q, 7 shared")
    ]
    [line] = [line for line in explain(tmp_path / "out", "http://host0.example/page") if "decontaminate" in line]
    assert "dropped by decontaminate: vqa:b q, 7 shared (expected no 13-gram of an evaluation set)" in line
    short = ("vqa:a", "paragraph", "too_short", "2 words")
    assert ledger(tmp_path, "benchmarks") == [short, ("vqa:b", "paragraph", "too_short", "1 words")]
    [summary] = [summary for summary in funnel(tmp_path / "out") if summary.stage == "benchmarks"]
    assert (summary.rows_in, summary.rows_out) == (2, 1)


def test_by_configuration_the_paragraphs_go_that_hold_it_even_where_it_runs_over_two(tmp_path: Path) -> None:
    words = QUESTION.split()
    halves = [" ".join(words[:9]), " ".join(words[9:])]
    texts = prose(0)
    write_crawl(tmp_path, [([texts[0], *halves, texts[1]], [photo(0)]), ([texts[2], QUESTION], [photo(1)])])
    path = parquet(tmp_path / "set.parquet", {"question": QUESTION})
    made = configuration(tmp_path, {"name": "s", "path": path, "text": ["question"], "drop": "paragraph"})
    assert main(["run", str(made)]) == 0
    left = final(tmp_path)
    assert left["http://host0.example/page"][0] == f"{texts[0]}\n\n{texts[1]}"
    assert left["http://host1.example/page"][0] == texts[2]
    assert [(level, value) for _, level, _, value in ledger(tmp_path, "decontaminate")] == 2 * [
        ("paragraph", "s:0 question, 7 shared")
    ] + [("paragraph", "s:0 question, 7 shared")]


def test_a_phrase_in_more_documents_than_allowed_is_common_and_drops_nothing(tmp_path: Path) -> None:
    licence = "Permission is hereby granted free of charge to any person obtaining a copy of this software"
    write_crawl(
        tmp_path, [([*prose(n), licence], [photo(n)]) for n in range(3)] + [([*prose(5), QUESTION], [photo(5)])]
    )
    path = jsonl(tmp_path / "set.jsonl", {"q": f"{licence}"}, {"q": QUESTION})
    made = configuration(tmp_path, {"name": "s", "path": path, "text": "q", "max_documents": 2})
    assert main(["run", str(made)]) == 0
    assert sorted(final(tmp_path)) == [f"http://host{n}.example/page" for n in range(3)]
    made = configuration(tmp_path, {"name": "s", "path": path, "text": "q", "max_documents": None})
    assert main(["run", str(made), "--set", f"output={tmp_path / 'all'}"]) == 0
    assert not list((tmp_path / "all" / "stages" / "final").glob("*.documents.parquet"))


def test_sets_of_their_own_length_of_ngrams_stand_beside_each_other(tmp_path: Path) -> None:
    write_crawl(
        tmp_path, [([*prose(0), "what is the name of this mill"], [photo(0)]), ([*prose(1), QUESTION], [photo(1)])]
    )
    short = jsonl(tmp_path / "short.jsonl", {"q": "What is the name of this mill?"})
    long = jsonl(tmp_path / "long.jsonl", {"q": QUESTION})
    made = configuration(
        tmp_path, {"name": "short", "path": short, "text": "q", "n": 6}, {"name": "long", "path": long, "text": "q"}
    )
    assert main(["run", str(made)]) == 0
    assert [value for *_, value in ledger(tmp_path, "decontaminate")] == ["short:0 q, 2 shared", "long:0 q, 7 shared"]


def test_of_two_sets_that_hold_an_item_the_one_that_drops_documents_counts(tmp_path: Path) -> None:
    write_crawl(tmp_path, [([*prose(0), QUESTION], [photo(0)]), (prose(1), [photo(1)])])
    path = jsonl(tmp_path / "set.jsonl", {"q": QUESTION})
    first = {"name": "first", "path": path, "text": "q", "drop": "paragraph"}
    made = configuration(tmp_path, first, {"name": "second", "path": path, "text": "q"})
    assert main(["run", str(made)]) == 0
    assert [row[1:] for row in ledger(tmp_path, "decontaminate")] == [
        ("document", "decontaminate", "second:0 q, 7 shared")
    ]


def images_of(tmp_path: Path, name: str) -> dict[str, Any]:
    """The same two pictures, a photo and a plain one, as bytes, as `datasets` writes them, as files and as hashes."""
    if name == "bytes":
        path = parquet(tmp_path / "set.parquet", {"i": photo(0, (300, 225), 60)}, {"i": plain("red")})
    elif name == "datasets":
        rows = [{"i": [{"bytes": data, "path": "x.jpg"}]} for data in (photo(0, (300, 225), 60), plain("red"))]
        path = parquet(tmp_path / "set.parquet", *rows)
    else:
        (tmp_path / "val").mkdir()
        (tmp_path / "val" / "a.jpg").write_bytes(photo(0, (300, 225), 60))
        (tmp_path / "val" / "b.png").write_bytes(plain("red"))
        path = jsonl(tmp_path / "set.jsonl", {"i": "val/a.jpg"}, {"i": "val/b.png"})
    return {"name": "set", "path": path, "image": "i"}


@pytest.mark.parametrize("form", ["bytes", "datasets", "files"])
def test_an_image_near_one_of_a_set_goes_and_the_item_is_named(form: str, tmp_path: Path) -> None:
    write_crawl(
        tmp_path, [(prose(0), [photo(0), photo(7)]), (prose(1), [plain("red"), plain("blue")]), (prose(2), [photo(2)])]
    )
    assert main(["run", str(configuration(tmp_path, images_of(tmp_path, form)))]) == 0
    assert {url: images for url, (_, images) in final(tmp_path).items()} == {
        "http://host0.example/page": ["http://host0.example/1.jpg"],
        "http://host1.example/page": ["http://host1.example/1.jpg"],
        "http://host2.example/page": ["http://host2.example/0.jpg"],
    }
    near, equal = ledger(tmp_path, "decontaminate_images")
    assert near[:3] == ("http://host0.example/page", "image", "decontaminate")
    assert near[3].startswith("set:0 i, ")
    assert near[3].endswith(" bits apart")
    assert equal[3] == "set:1 i, the same bytes"


@pytest.mark.parametrize("kind", ["pdq", "phash"])
def test_hashes_that_were_made_before_do_as_well(kind: str, tmp_path: Path) -> None:
    from pipeline.pixels import HASHES, Facts, look

    seen = look(photo(0, (300, 225), 60), max_bytes=10**7, max_pixels=10**7, seconds=10, readers=[HASHES])
    assert isinstance(seen, Facts)
    write_crawl(tmp_path, [(prose(0), [photo(0)]), (prose(1), [photo(1)])])
    path = jsonl(tmp_path / "set.jsonl", {"hash": getattr(seen, kind)})
    assert main(["run", str(configuration(tmp_path, {"name": "set", "path": path, "image": "hash"}))]) == 0
    assert list(final(tmp_path)) == ["http://host1.example/page"]


def test_images_of_a_set_that_do_not_decode_are_counted_and_named(tmp_path: Path) -> None:
    write_crawl(tmp_path, [(prose(0), [photo(0)]), (prose(1), [photo(1)])])
    path = jsonl(tmp_path / "set.jsonl", {"i": "no.jpg"}, {"i": "bad.jpg"}, {"i": "a.jpg"}, {"i": None})
    (tmp_path / "a.jpg").write_bytes(photo(0))
    (tmp_path / "bad.jpg").write_bytes(photo(0)[:2000])
    assert main(["run", str(configuration(tmp_path, {"name": "set", "path": path, "image": "i"}))]) == 0
    assert ledger(tmp_path, "benchmarks") == [
        ("set:0", "image", "image_broken", "No such file or directory"),
        ("set:1", "image", "image_broken", "truncated"),
    ]
    assert list(final(tmp_path)) == ["http://host1.example/page"]


def test_a_changed_set_redoes_what_depends_on_it_and_an_unchanged_one_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_crawl(tmp_path, [([*prose(0), QUESTION], [photo(0)]), (prose(1), [photo(1)])])
    (tmp_path / "a.jpg").write_bytes(photo(3))
    set_ = {
        "name": "s",
        "path": jsonl(tmp_path / "set.jsonl", {"q": QUESTION, "i": "a.jpg"}),
        "text": "q",
        "image": "i",
    }
    made = configuration(tmp_path, set_)
    assert main(["run", str(made)]) == 0
    assert list(final(tmp_path)) == ["http://host1.example/page"]
    capfd.readouterr()
    assert main(["run", str(made)]) == 0
    assert "Nothing to do" in capfd.readouterr().out
    (tmp_path / "a.jpg").write_bytes(photo(1))  # a file beside the set
    keys = (tmp_path / "out" / "stages" / "keys" / "00000.json").stat().st_mtime_ns
    assert main(["run", str(made)]) == 0
    assert final(tmp_path) == {}
    jsonl(tmp_path / "set.jsonl", {"q": QUESTION.replace("seven", "eleven"), "i": "a.jpg"})
    assert main(["run", str(made)]) == 0
    assert list(final(tmp_path)) == []
    assert (tmp_path / "out" / "stages" / "keys" / "00000.json").stat().st_mtime_ns == keys


def test_without_sets_no_stage_of_it_is_run(tmp_path: Path) -> None:
    write_crawl(tmp_path, [(prose(0), [photo(0)])])
    assert main(["run", str(configuration(tmp_path))]) == 0
    stages = {path.name for path in (tmp_path / "out" / "stages").iterdir()}
    assert not {"benchmarks", "decontaminate", "decontaminate_images"} & stages


def refusal(tmp_path: Path, **changed: Any) -> str:
    path = tmp_path / "set.jsonl"
    if not path.exists():
        jsonl(path, {"question": QUESTION, "picture": None})
    made = configuration(tmp_path, {"name": "s", "path": str(path), "text": "question", **changed})
    with pytest.raises(UserError) as error:
        config.load(str(made))
    return str(error.value)


def test_a_set_that_is_not_there_or_has_other_columns_is_one_line_with_the_choices(tmp_path: Path) -> None:
    assert "decontaminate.0.path: " in (said := refusal(tmp_path, path=str(tmp_path / "no.parquet")))
    assert "no.parquet: No such file or directory" in said
    assert "no column questoin (its columns: question, picture)" in refusal(tmp_path, text="questoin")
    assert "no column qid (its columns: question, picture)" in refusal(tmp_path, id="qid")
    assert "s: name its columns: text or image" in refusal(tmp_path, text=[])
    assert "decontaminate.0.drop: input should be 'document' or 'paragraph'" in refusal(tmp_path, drop="page")
    assert "decontaminate.0.ngram: unknown key" in refusal(tmp_path, ngram=5)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("set.jsonl", b"", "has no rows"),
        ("set.jsonl", b"\n\n", "has no rows"),
        ("set.jsonl", b"question\nWhat?\n", "line 1 is no JSON object (a set is .parquet, or JSON lines)"),
        ("set.jsonl", b"[1, 2]\n", "line 1 is no JSON object"),
        ("set.parquet", b"PAR1 and not much more PAR1", "no Parquet: "),
    ],
)
def test_a_file_that_is_no_set_is_said_to_be_none(name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="set") as error:
        columns(str(tmp_path / name))
    assert expected in str(error.value)
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "empty.parquet")
    with pytest.raises(ValueError, match=r"empty\.parquet: has no rows"):
        columns(str(tmp_path / "empty.parquet"))


def test_two_sets_have_two_names(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "set.jsonl", {"q": QUESTION})
    made = configuration(tmp_path, *2 * [{"name": "s", "path": path, "text": "q"}])
    with pytest.raises(UserError, match="decontaminate: two sets are named s"):
        config.load(str(made))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"q": "Too short?"}], "nothing in 1 rows can be compared"),
        ([{"q": QUESTION}, "broken"], "line 2 is no JSON object"),
    ],
)
def test_a_set_that_cannot_be_compared_stops_the_run_in_a_line(
    rows: list[Any], expected: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A corpus that was not compared must not look as if it had been."""
    write_crawl(tmp_path, [(prose(0), [photo(0)])])
    good = jsonl(tmp_path / "good.jsonl", {"q": QUESTION})
    bad = tmp_path / "bad.jsonl"
    bad.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    made = configuration(
        tmp_path, {"name": "good", "path": good, "text": "q"}, {"name": "bad", "path": str(bad), "text": "q"}
    )
    assert main(["run", str(made)]) == 1
    said = capfd.readouterr().err
    assert "carnac: decontaminate: bad: " in said
    assert expected in said


def test_the_advice_of_the_configuration_is_its_default() -> None:
    shown = (ROOT / "configs" / "obelics.yaml").read_text()
    fields = Benchmark.model_fields
    assert f"n: {fields['n'].default}" in shown
    assert f"max_documents: {fields['max_documents'].default}" in shown
