"""An exported model and small sets of questions or captions in; its answers in context and their measures out, as JSON.

The prompt is that of IDEFICS's evaluation: an instruction, examples with their images and answers, the question. Examples
are drawn for each item by the seed alone, so that all models see the same. No examples are two without their images.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import torch

from pipeline.benchmarks import json_lines
from pipeline.errors import UserError
from pipeline.storage import read_rows, write_json
from pipeline.training.config import FewShot, TrainConfig
from pipeline.training.generate import Exported, Piece, complete, load, open_image, read_image
from pipeline.training.metrics import PEOPLE, cider, cider_d, exact_match, vqa_accuracy
from pipeline.training.resume import MODEL

RESULTS = "few_shot.json"
BLIND = 2  # examples without their images where none are asked for
BANNED = ("\n", "\n\n")  # an answer is one line; m4 bans these, too


@dataclass(frozen=True, slots=True)
class Item:
    number: int  # in its file
    image: bytes | Path
    question: str
    answers: list[str]

    @property
    def commonest(self) -> str:
        """The answer that most people gave, the first of several."""
        return Counter(self.answers).most_common(1)[0][0]


def few_shot(config: TrainConfig, report: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Asks the model in `OUTPUT/model` all tasks of `validation.few_shot`, on a GPU where there is one; what comes of it
    is written to `OUTPUT/few_shot.json` and returned without the single answers.

    Raises:
        UserError: no trained model, no tasks, or a set that cannot be read.
    """
    output = Path(config.output)
    if not config.validation.few_shot:
        raise UserError("validation.few_shot: names no task")
    exported = load(output / MODEL, "cuda" if torch.cuda.is_available() else "cpu")
    found = []
    for task in config.validation.few_shot:
        found.append(evaluate(exported, task))
        for shots, measures in found[-1]["shots"].items():
            figures = ", ".join(f"{name} {value:.4f}" for name, value in measures.items() if name != "each")
            report(f"{task.name}, {shots} shots: {figures} of {found[-1]['items']:,} items")
    write_json(output / RESULTS, found)
    for of_task in found:
        of_task["shots"] = {
            shots: {name: value for name, value in measures.items() if name != "each"}
            for shots, measures in of_task["shots"].items()
        }
    return found


def evaluate(exported: Exported, settings: FewShot) -> dict[str, Any]:
    """The measures for each number of shots, with every item's answer, its examples and its score.

    VQA accuracy is given where each question has the answers of ten people, exact match always; of captions CIDEr-D and
    CIDEr, 0 to 10.

    Raises:
        UserError: a set that cannot be read, lacks a column or has too few items for the shots; an image that cannot.
    """
    items = read_set(settings.path, settings)[: settings.items]
    support = items if settings.support is None else read_set(settings.support, settings)
    own = settings.support is None
    most = max(shots or BLIND for shots in settings.shots)
    if len(support) - own < most:
        raise UserError(
            f"{settings.support or settings.path}: {len(support)} items are too few for {most} shots"
            + (" beside the question itself" if own else "")
        )
    return {
        "name": settings.name,
        "task": settings.task,
        "items": len(items),
        "shots": {str(shots): _with_shots(exported, settings, items, support, shots) for shots in settings.shots},
    }


def _with_shots(
    exported: Exported, settings: FewShot, items: list[Item], support: list[Item], shots: int
) -> dict[str, Any]:
    chosen = [examples(settings, item, support, shots) for item in items]
    answers: list[str] = []
    for start in range(0, len(items), settings.batch_size):  # so that only the images of one batch are in memory
        stretch = range(start, min(start + settings.batch_size, len(items)))
        answers += complete(
            exported,
            [prompt(settings, items[i], chosen[i], blind=not shots) for i in stretch],
            new_tokens=settings.new_tokens,
            beams=settings.beams,
            batch_size=settings.batch_size,
            banned=BANNED,
        )
    answers = [cut(answer, settings.stop) for answer in answers]
    measures = _measures(settings, items, answers)
    each = [
        {
            "item": item.number,
            "examples": [example.number for example in of_item],
            "answer": answer,
            "answers": item.answers,
            **{name: float(values[i]) for name, values in measures.items()},
        }
        for i, (item, of_item, answer) in enumerate(zip(items, chosen, answers, strict=True))
    ]
    return {name: float(np.mean(values)) for name, values in measures.items()} | {"each": each}


def _measures(settings: FewShot, items: list[Item], answers: list[str]) -> dict[str, list[float]]:
    people = [item.answers for item in items]
    if settings.task == "caption":
        return {"cider_d": cider_d(answers, people), "cider": cider(answers, people)}
    pairs = list(zip(answers, people, strict=True))
    measures = {"exact_match": [float(exact_match(answer, said)) for answer, said in pairs]}
    if all(len(said) == PEOPLE for said in people):
        measures = {"vqa_accuracy": [vqa_accuracy(answer, said) for answer, said in pairs]} | measures
    return measures


def examples(settings: FewShot, item: Item, support: list[Item], shots: int) -> list[Item]:
    """The examples of an item, itself left out; without shots the first two of the support set."""
    others = [other for other in support if settings.support is not None or other.number != item.number]
    if not shots:
        return others[:BLIND]
    drawn = np.random.default_rng((settings.seed, shots, item.number)).choice(len(others), shots, replace=False)
    return [others[i] for i in drawn]


def prompt(settings: FewShot, item: Item, shots: list[Item], blind: bool = False) -> list[Piece]:
    """The pieces of a prompt; `blind` leaves out the images of the examples."""
    before, after = settings.example.split("{image}")
    pieces: list[Piece] = [settings.prefix]

    def say(text: str) -> None:
        if isinstance(pieces[-1], str):
            pieces[-1] += text
        else:
            pieces.append(text)

    for shot in (*shots, item):
        answer = "" if shot is item else shot.commonest
        say(before.format(question=shot.question, answer=answer))
        if not blind or shot is item:
            pieces.append(_image(shot))
        said = after.format(question=shot.question, answer=answer)
        say(said.rstrip() if shot is item else said)
    return [piece for piece in pieces if piece != ""]


def cut(answer: str, stop: tuple[str, ...]) -> str:
    """The answer up to the first stop word; where one opens it, nothing is left, as in IDEFICS's evaluation."""
    return (re.split("|".join(map(re.escape, stop)), answer, maxsplit=1)[0] if stop else answer).strip()


def read_set(path: str, settings: FewShot) -> list[Item]:
    """The items of a set.

    Raises:
        UserError: a file that is not there or cannot be read, a missing column, a value of another kind, no items.
    """
    items = []
    try:
        rows: Iterator[dict[str, Any]] = read_rows(path) if path.endswith(".parquet") else json_lines(path)
        for number, row in enumerate(rows):
            items.append(_item(path, number, row, settings))
    except (OSError, ValueError, pa.ArrowException) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise UserError(f"validation.few_shot {settings.name}: {path}: {said.removeprefix(f'{path}: ')}") from None
    if not items:
        raise UserError(f"validation.few_shot {settings.name}: {path}: has no items")
    return items


def _item(path: str, number: int, row: dict[str, Any], settings: FewShot) -> Item:
    wanted = [settings.image, settings.answers] + ([settings.question] if settings.task == "vqa" else [])
    for name in wanted:
        if name not in row:
            raise ValueError(f"no column {name} (its columns: {', '.join(row)})")
    image = row[settings.image]
    if isinstance(image, dict):  # as `datasets` writes it
        image = image.get("bytes") or image.get("path")
    if isinstance(image, str):
        image = Path(path).parent / image
    if not isinstance(image, bytes | Path):
        raise ValueError(f"item {number}: {settings.image} is neither a path nor bytes, found {type(image).__name__}")
    answers = row[settings.answers]
    answers = [answers] if isinstance(answers, str) else answers
    if not isinstance(answers, list) or not answers:
        raise ValueError(f"item {number}: {settings.answers} is no list of answers, found {answers!r:.50}")
    said: list[Any] = [a.get("answer") if isinstance(a, dict) else a for a in answers]  # VQA's own form
    question = row[settings.question] if settings.task == "vqa" else ""
    if not all(isinstance(text, str) for text in (*said, question)):
        raise ValueError(f"item {number}: question and answers must be texts")
    return Item(number, image, question, said)


def _image(item: Item) -> PIL.Image.Image:
    if isinstance(item.image, Path):
        return read_image(item.image)
    return open_image(item.image, f"item {item.number}")
