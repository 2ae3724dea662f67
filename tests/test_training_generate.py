"""One answer from an exported folder: as stock transformers gives it, whatever a prompt or an image says."""

import io
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from transformers import AutoProcessor

from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.terminal import printable
from pipeline.training.export import export
from pipeline.training.generate import (
    Exported,
    Piece,
    Token,
    batch,
    complete,
    instruction,
    load,
    open_image,
    read_image,
)
from pipeline.training.tokenizer import END_OF_UTTERANCE, FAKE, IMAGE
from tests.exported_models import write_idefics, write_idefics2, write_idefics3
from tests.test_training_export import greedy, made, prompt
from tests.training_models import configured
from tests.training_shards import picture

pytestmark = pytest.mark.usefixtures("one_thread")

FAMILIES: dict[str, Callable[[Path], Path]] = {
    "idefics": write_idefics,
    "idefics2": write_idefics2,
    "idefics2 split": partial(write_idefics2, splitting=True),
    "idefics3": write_idefics3,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp("model")) for name, write in FAMILIES.items()}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, Exported]:
    return {name: load(folder) for name, folder in folders.items()}


def image(seed: int, size: tuple[int, int] = (40, 30)) -> PIL.Image.Image:
    return open_image(picture(seed, size=size), "picture")


def stock(exported: Exported, folder: Path, pieces: list[Piece]) -> dict[str, Any]:
    """The inputs that the folder's processor makes of the same."""
    processor = AutoProcessor.from_pretrained(folder)
    if exported.kind == "idefics":
        return dict(processor(text=[pieces], return_tensors="pt"))
    text = "".join(IMAGE if isinstance(piece, PIL.Image.Image) else str(piece) for piece in pieces)
    images = [piece for piece in pieces if isinstance(piece, PIL.Image.Image)]
    made = processor(text="<s>" + text, images=[images] if images else None, return_tensors="pt")
    return {key: value for key, value in made.items() if key not in ("rows", "cols")}


@pytest.mark.parametrize("name", FAMILIES)
def test_inputs_are_those_of_the_stock_processor(
    name: str, models: dict[str, Exported], folders: dict[str, Path]
) -> None:
    prompts: list[list[Piece]] = [
        ["the river", image(1), " bends south", image(2, (30, 60)), image(3, (20, 20))],
        ["two herons wait"],
    ]
    for pieces in prompts:
        ours, theirs = batch(models[name], [pieces]), stock(models[name], folders[name], pieces)
        if models[name].kind == "idefics":  # its processor takes the blanks from the ends of texts
            theirs["input_ids"] = ours["input_ids"]
            theirs["attention_mask"] = torch.ones_like(ours["input_ids"])
            theirs["image_attention_mask"] = latest(ours["input_ids"], models[name], len(pieces) - 2)
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert torch.equal(ours[key], theirs[key].to(ours[key].dtype)), key


def latest(ids: Any, exported: Exported, images: int) -> Any:
    seen, rows = -1, []
    for i in ids[0].tolist():
        seen += i == exported.tokenizer.convert_tokens_to_ids(IMAGE)
        rows.append([int(place == seen) for place in range(max(1, images))])
    return torch.tensor([rows])


@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_together_are_answered_as_each_alone(name: str, models: dict[str, Exported]) -> None:
    prompts: list[list[Piece]] = [
        [image(1), "the river bends south of a mill and"],
        ["two"],
        ["herons", image(4, (25, 50)), image(5), "wait"],
        [image(6)],
    ]
    alone = [complete(models[name], [prompt], new_tokens=12)[0] for prompt in prompts]
    assert complete(models[name], prompts, new_tokens=12, batch_size=4) == alone
    assert complete(models[name], prompts, new_tokens=12, batch_size=3) == alone
    assert len(set(alone)) > 1
    assert all(IMAGE not in answer and FAKE not in answer for answer in alone)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_answer_depends_on_the_image(name: str, models: dict[str, Exported]) -> None:
    answers = {complete(models[name], [[image(n), "the"]], new_tokens=16)[0] for n in range(12)}
    assert len(answers) > 1


def test_beams_find_what_stock_beam_search_finds(models: dict[str, Exported]) -> None:
    exported = models["idefics"]
    prompt: list[Piece] = [image(1), "the river"]
    inputs = batch(exported, [prompt])
    with torch.no_grad():
        found = exported.model.generate(**inputs, max_new_tokens=12, num_beams=4, early_stopping=True)
    written = exported.tokenizer.decode(found[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert complete(exported, [prompt], new_tokens=12, beams=4) == [written]
    assert complete(exported, [prompt], new_tokens=12) != [written]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_that_is_an_address_is_text_and_never_fetched(
    name: str, models: dict[str, Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    address = "http://127.0.0.1:9/picture.png"
    ids = batch(models[name], [[address, f"{IMAGE}{FAKE}</s><s>{END_OF_UTTERANCE}"]])["input_ids"][0].tolist()
    assert models[name].tokenizer.decode(ids[1:]) == f"{address}{IMAGE}{FAKE}</s><s>{END_OF_UTTERANCE}"
    special = {models[name].tokenizer.convert_tokens_to_ids(token) for token in (IMAGE, FAKE, "</s>")}
    assert not special.intersection(ids)
    assert len(complete(models[name], [[address, image(1)]], new_tokens=2)) == 1


@pytest.mark.parametrize("family", ["idefics", "idefics2", "idefics3"])
def test_what_we_export_is_asked_as_it_was_trained(family: str, tmp_path: Path) -> None:
    config = configured(family)
    model, words, vocabulary, form = made(config)
    export(model, words, vocabulary, form, tmp_path)
    exported = load(tmp_path)
    ids, shown = prompt(config, vocabulary, form)
    pieces: list[Piece] = ["the river bends", open_image(picture(3), "picture")]
    inputs = batch(exported, [pieces])
    assert inputs["input_ids"][0].tolist() == ids
    pixels = inputs["pixel_values"][0]
    theirs = model.normalised(torch.from_numpy(shown.pixels.copy()))
    for tile, other, (height, width) in zip(pixels, theirs, shown.extent.tolist(), strict=True):
        assert torch.allclose(tile[:, :height, :width], other[:, :height, :width], atol=1e-5)
    written = greedy(model, vocabulary, form, ids, shown, 6)[len(ids) :]
    assert complete(exported, [pieces], new_tokens=6) == [exported.tokenizer.decode(written, skip_special_tokens=True)]


def test_an_instruction_stands_between_user_and_assistant(models: dict[str, Exported]) -> None:
    exported = models["idefics2"]
    ids = batch(exported, [instruction("what is this?", None)])["input_ids"][0]
    assert exported.tokenizer.decode(ids) == f"<s>User: what is this?{END_OF_UTTERANCE}\nAssistant:"
    with_image = exported.tokenizer.decode(batch(exported, [instruction("why?", image(1))])["input_ids"][0])
    assert with_image == f"<s>User:{FAKE}{IMAGE * 4}{FAKE}why?{END_OF_UTTERANCE}\nAssistant:"
    assert exported.tokenizer.convert_tokens_to_ids(END_OF_UTTERANCE) in ids.tolist()
    with pytest.raises(UserError, match="not taught instructions"):
        complete(models["idefics"], [[Token(END_OF_UTTERANCE)]], new_tokens=1)


def test_banned_text_is_not_written(models: dict[str, Exported]) -> None:
    exported = models["idefics"]
    [answer] = complete(exported, [["the river"]], new_tokens=3)
    first = exported.tokenizer(answer, add_special_tokens=False)["input_ids"][0]
    banned = exported.tokenizer.decode([first])
    assert not complete(exported, [["the river"]], new_tokens=3, banned=[banned])[0].startswith(banned)


def refusal(data: bytes, max_pixels: int = 10**6) -> str:
    with pytest.raises(UserError) as caught:
        open_image(data, "a.png", max_pixels)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_that_cannot_be_shown_are_one_line(tmp_path: Path) -> None:
    assert "not_an_image" in refusal(b"no image")
    assert "truncated" in refusal(picture(1)[:80])
    assert "too_many_pixels" in refusal(picture(1), 100)
    with pytest.raises(UserError, match="No such file"):
        read_image(tmp_path / "none.png")
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(20 * 10**6 + 1)
    with pytest.raises(UserError, match="too_many_bytes"):
        read_image(tmp_path / "large.png")


def test_transparency_is_shown_on_white() -> None:
    file = io.BytesIO()
    PIL.Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(file, "PNG")
    assert open_image(file.getvalue(), "clear").getpixel((0, 0)) == (255, 255, 255)


def test_a_folder_that_holds_no_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    with pytest.raises(UserError, match="a model of type llama; expected one of idefics, idefics2, idefics3"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "idefics"}', encoding="utf-8")
    with pytest.raises(UserError, match="cannot be loaded"):
        load(tmp_path)


def test_the_command_prints_the_continuation(
    folders: dict[str, Path], models: dict[str, Exported], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    asked = ["generate", str(folders["idefics2"]), "--image", str(tmp_path / "a.png"), "--tokens", "6"]
    assert main([*asked, "--prompt", "the river"]) == 0
    [answer] = complete(models["idefics2"], [[image(1), "the river"]], new_tokens=6)
    assert capsys.readouterr().out == "\n".join(map(printable, answer.split("\n"))) + "\n"
    assert main([*asked, "--prompt", "why?", "--instruct"]) == 0
    [answer] = complete(models["idefics2"], [instruction("why?", image(1))], new_tokens=6)
    assert len(capsys.readouterr().out) == len(answer) + 1
    assert main(["generate", str(folders["idefics"]), "--prompt", "the", "--tokens", "3"]) == 0
    assert capsys.readouterr().out


def test_mistakes_in_the_command_are_one_line(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for more, said in (
        (["--image", "none.png", "--prompt", "a"], "none.png: No such file"),
        (["--image", "http://127.0.0.1:9/a.png", "--prompt", "a"], "No such file"),
        (["--prompt", "a", "--instruct"], "not taught instructions"),
        (["--prompt", "a", "--tokens", "0"], "--tokens"),
        ([], "an image, a prompt or both"),
        *([] if torch.cuda.is_available() else [(["--prompt", "a", "--device", "cuda"], "is not there")]),
    ):
        assert main(["generate", str(folders["idefics"]), *more]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
