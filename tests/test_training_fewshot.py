"""Few-shot prompts as IDEFICS is evaluated, from small sets; the measures of what a model answers."""

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.training.config import FewShot
from pipeline.training.fewshot import cut, evaluate, examples, prompt, read_set
from pipeline.training.generate import Exported, load
from pipeline.training.metrics import vqa_accuracy
from tests.exported_models import write_idefics, write_idefics3
from tests.training_shards import picture, tiny, write_corpus

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return load(write_idefics(tmp_path_factory.mktemp("model")))


def write_set(folder: Path, count: int = 12, name: str = "set.jsonl", people: int = 10, **more: Any) -> Path:
    rows = []
    for n in range(count):
        (folder / f"{n}.png").write_bytes(picture(n))
        answers = [f"answer {n}"] * (people - 1) + [f"other {n}"]
        rows.append({"image": f"{n}.png", "question": f"what is {n}?", "answers": answers} | more)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder / name


def shown(pieces: list[Any]) -> str:
    return "".join("#" if isinstance(piece, PIL.Image.Image) else piece for piece in pieces)


def test_the_prompt_is_instruction_examples_and_question(tmp_path: Path) -> None:
    settings = FewShot(name="vqa", task="vqa", path=str(write_set(tmp_path)))
    items = read_set(settings.path, settings)
    pieces = prompt(settings, items[0], items[1:3])
    assert shown(pieces) == (
        "Instruction: provide an answer to the question. Use the image to answer.\n"
        "Image:#Question: what is 1? Answer: answer 1\n"
        "Image:#Question: what is 2? Answer: answer 2\n"
        "Image:#Question: what is 0? Answer:"
    )
    assert len(pieces) == 7  # texts that stand together are one
    caption = settings.model_validate({"name": "c", "task": "caption", "path": settings.path})
    assert shown(prompt(caption, items[0], items[1:2])) == (
        "Instruction: provide a short caption of the input image.\n"
        "Image:#Image description: answer 1\nImage:#Image description:"
    )


def test_no_shots_are_two_examples_without_their_images(tmp_path: Path) -> None:
    settings = FewShot(name="vqa", task="vqa", path=str(write_set(tmp_path)))
    items = read_set(settings.path, settings)
    of_first, of_last = (examples(settings, items[n], items, 0) for n in (0, 11))
    assert [[item.number for item in of] for of in (of_first, of_last)] == [[1, 2], [0, 1]]
    assert shown(prompt(settings, items[11], of_last, blind=True)).splitlines()[1:] == [
        "Image:Question: what is 0? Answer: answer 0",
        "Image:Question: what is 1? Answer: answer 1",
        "Image:#Question: what is 11? Answer:",
    ]


def test_examples_are_drawn_by_the_seed_and_never_the_question_itself(tmp_path: Path) -> None:
    settings = FewShot(name="vqa", task="vqa", path=str(write_set(tmp_path)))
    items = read_set(settings.path, settings)
    drawn = {n: [e.number for e in examples(settings, items[n], items, 8)] for n in range(12)}
    assert drawn == {n: [e.number for e in examples(settings, items[n], items, 8)] for n in range(12)}
    assert all(n not in chosen and len(set(chosen)) == 8 for n, chosen in drawn.items())
    assert len({tuple(chosen) for chosen in drawn.values()}) == 12
    other = settings.model_copy(update={"seed": 1})
    assert [e.number for e in examples(other, items[0], items, 8)] != drawn[0]


def test_a_support_set_lends_its_examples(tmp_path: Path, exported: Exported) -> None:
    (tmp_path / "support").mkdir()
    support = write_set(tmp_path / "support", 4)
    settings = FewShot(name="v", task="vqa", path=str(write_set(tmp_path, 3)), support=str(support), shots=[4], beams=1)
    found = evaluate(exported, settings)["shots"]["4"]
    assert [sorted(each["examples"]) for each in found["each"]] == [[0, 1, 2, 3]] * 3


def test_answers_end_at_stop_words() -> None:
    stop = FewShot(name="v", task="vqa", path="").stop
    assert cut(" two dogs Question: why?", stop) == "two dogs"
    assert cut("Question: why?", stop) == ""
    assert cut("a (dog", ()) == "a (dog"
    assert cut("a (dog (b", ("(b",)) == "a (dog"


@pytest.mark.parametrize("family", ["idefics", "idefics3"])
def test_every_item_is_answered_for_each_number_of_shots(family: str, exported: Exported, tmp_path: Path) -> None:
    if family == "idefics3":
        exported = load(write_idefics3(tmp_path / "model"))
    settings = FewShot(name="vqa", task="vqa", path=str(write_set(tmp_path, 6)), shots=[0, 2], beams=2, new_tokens=4)
    found = evaluate(exported, settings)
    json.dumps(found)
    assert list(found["shots"]) == ["0", "2"]
    for of_shots in found["shots"].values():
        assert [each["item"] for each in of_shots["each"]] == list(range(6))
        for each in of_shots["each"]:
            assert each["vqa_accuracy"] == vqa_accuracy(each["answer"], each["answers"])
            assert "\n" not in each["answer"]
        mean = sum(each["vqa_accuracy"] for each in of_shots["each"]) / 6
        assert of_shots["vqa_accuracy"] == pytest.approx(mean)
    answers = [each["answer"] for of_shots in found["shots"].values() for each in of_shots["each"]]
    smaller = settings.model_copy(update={"batch_size": 4})
    again = evaluate(exported, smaller)["shots"]
    assert [each["answer"] for of_shots in again.values() for each in of_shots["each"]] == answers
    assert len(set(answers)) > 2


def test_a_model_that_knows_the_answers_has_full_marks(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_set(tmp_path, 6))

    def oracle(_: Exported, prompts: list[list[Any]], **__: Any) -> list[str]:
        asked = [shown(pieces).rpartition("what is ")[2].partition("?")[0] for pieces in prompts]
        return [f" Answer {n}. Question: what" for n in asked]

    monkeypatch.setattr("pipeline.training.fewshot.complete", oracle)
    found = evaluate(exported, FewShot(name="v", task="vqa", path=path, shots=[4]))["shots"]["4"]
    assert (found["vqa_accuracy"], found["exact_match"]) == (1.0, 1.0)


def test_captions_are_measured_by_cider(exported: Exported, tmp_path: Path) -> None:
    path = write_set(tmp_path, 5, people=5)
    settings = FewShot(name="c", task="caption", path=str(path), shots=[2], beams=1, new_tokens=4)
    found = evaluate(exported, settings)["shots"]["2"]
    assert {"cider_d", "cider", "each"} == set(found)
    assert all(0 <= each["cider_d"] <= 10 for each in found["each"])
    vqa = FewShot(name="v", task="vqa", path=str(path), shots=[2], beams=1, new_tokens=4)
    assert "vqa_accuracy" not in evaluate(exported, vqa)["shots"]["2"]  # five people, not ten


def test_a_set_in_parquet_holds_its_images(tmp_path: Path) -> None:
    row = {"answers": [{"answer": "yes"}], "question": "is it?"}
    rows = [{"image": {"bytes": picture(n), "path": None}, **row} for n in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set.parquet")
    settings = FewShot(name="v", task="vqa", path=str(tmp_path / "set.parquet"))
    items = read_set(settings.path, settings)
    assert [(item.answers, item.question) for item in items] == [(["yes"], "is it?")] * 3
    assert items[1].image == picture(1)


def test_a_set_that_cannot_be_used_is_one_line(exported: Exported, tmp_path: Path) -> None:
    def refused(path: Path, **more: Any) -> str:
        settings = FewShot.model_validate({"name": "v", "task": "vqa", "path": str(path), "new_tokens": 1, **more})
        with pytest.raises(UserError) as caught:
            evaluate(exported, settings)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    whole = write_set(tmp_path, 4)
    assert "No such file" in refused(tmp_path / "none.jsonl")
    assert "no column query (its columns: image, question, answers)" in refused(whole, question="query")
    assert "4 items are too few for 8 shots beside the question itself" in refused(whole)
    assert "is no list of answers" in refused(write_set(tmp_path, 4, "a.jsonl", answers=[]))
    assert "neither a path nor bytes" in refused(write_set(tmp_path, 4, "b.jsonl", image=None))
    assert "must be texts" in refused(write_set(tmp_path, 4, "c.jsonl", question=3))
    assert "No such file" in refused(write_set(tmp_path, 4, "d.jsonl", image="http://h.example/a.png"), shots=[1])
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    assert "has no items" in refused(tmp_path / "empty.jsonl")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    assert "bad.parquet: " in refused(tmp_path / "bad.parquet")
    (tmp_path / "bad.jsonl").write_text("[1]\n", encoding="utf-8")
    assert "line 1 is no JSON object" in refused(tmp_path / "bad.jsonl")


@pytest.mark.parametrize("example", ["{image}{question}", "{question}{answer}", "{image}{question}{answer}{x}", "{"])
def test_a_template_without_its_places_is_refused(example: str) -> None:
    with pytest.raises(ValueError, match="example"):
        FewShot(name="v", task="vqa", path="", example=example)


def test_a_training_ends_with_its_few_shot_tasks_and_the_command_asks_them_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(tmp_path / "data")
    path = str(write_set(tmp_path, 4))
    task = {"name": "small", "task": "vqa", "path": path, "shots": [0], "beams": 1, "new_tokens": 3}
    config = tiny(tmp_path / "data", tmp_path / "out", steps=1, validation={"few_shot": [task]})
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    assert main(["train", str(tmp_path / "train.yaml")]) == 0
    first = (tmp_path / "out" / "few_shot.json").read_text(encoding="utf-8")
    events = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    [said] = [event for event in events if event["event"] == "few_shot"]
    assert set(said["tasks"][0]["shots"]["0"]) == {"vqa_accuracy", "exact_match"}
    assert len(json.loads(first)[0]["shots"]["0"]["each"]) == 4
    capsys.readouterr()
    assert main(["train", str(tmp_path / "train.yaml"), "--few-shot"]) == 0
    assert capsys.readouterr().out.startswith("small, 0 shots: vqa_accuracy ")
    assert (tmp_path / "out" / "few_shot.json").read_text(encoding="utf-8") == first
    assert main(["train", str(tmp_path / "train.yaml"), "--few-shot", "--set", "validation.few_shot=[]"]) == 2
