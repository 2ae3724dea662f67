"""Rules named in YAML in; functions with their thresholds bound out. A rule's name is the reason for a drop."""

import difflib
import inspect
import typing
from collections.abc import Callable
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from filters import (
    blocklist,
    boilerplate,
    c4,
    fineweb,
    gopher,
    image,
    language,
    likeness,
    page,
    perplexity,
    pii,
    safe_page,
    safety,
    text,
    training_loss,
)
from filters.verdict import Verdict

Rules = dict[str, dict[str, Any]]

# Where the rules of a room live: any public function there that answers a Verdict is one. It takes one text, a text or a
# batch of them, an image or a document, and its thresholds by name.
_DOCUMENT = [page, text, gopher, c4, fineweb, pii, blocklist]
_SCORED = [*_DOCUMENT, language, perplexity, training_loss]
ROOMS = {
    "image": [image],
    "paragraph": [text, boilerplate, c4, pii],
    "document": _DOCUMENT,
    "scored document": _SCORED,
    "seen document": [*_SCORED, safe_page],
    "seen image": [image, safety, likeness],
}


class Rule(NamedTuple):
    name: str
    takes: str  # the name of its first parameter: text, texts (one or a batch), document or image
    judge: Callable[[Any], Verdict]


def check(named: Rules, room: str) -> None:
    """Raises ValueError at the first unknown rule or argument, missing argument or value of another type."""
    for name, arguments in named.items():
        _check_arguments(name, _find(name, room), arguments)


def load(named: Rules, room: str) -> list[Rule]:
    """The rules, in the order in which they stand, with their thresholds bound."""
    rules = []
    for name, arguments in named.items():
        target = _find(name, room)
        takes = next(iter(inspect.signature(target).parameters))
        rules.append(Rule(name, takes, partial(target, **arguments)))
    return rules


def _find(name: str, room: str) -> Callable[..., Verdict]:
    choices = _choices(room)
    if name in choices:
        return choices[name]
    near = difflib.get_close_matches(name, choices, 1)
    guess = f", did you mean {near[0]}?" if near else ""
    elsewhere = [other for other in ROOMS if name in _choices(other)]
    if elsewhere:
        guess = f" here; {name} is a rule for: {', '.join(elsewhere)}"
    raise ValueError(f"unknown {room} rule {name}{guess} (known: {', '.join(sorted(choices))})")


def _choices(room: str) -> dict[str, Callable[..., Verdict]]:
    return {
        name: rule
        for module in ROOMS[room]
        for name, rule in vars(module).items()
        if not name.startswith("_") and getattr(rule, "__module__", None) == module.__name__ and _answers(rule)
    }


def _answers(value: Any) -> bool:
    return inspect.isfunction(value) and value.__annotations__.get("return") is Verdict


def _check_arguments(name: str, target: Callable[..., Verdict], arguments: Any) -> None:
    if not isinstance(arguments, dict):
        raise ValueError(f"{name}: expected its thresholds, such as {{max: 0.1}}, found {arguments!r}")
    signature = inspect.signature(target)
    _, *parameters = signature.parameters
    hints = typing.get_type_hints(target)
    for key, value in arguments.items():
        if key not in parameters:
            raise ValueError(f"{name}: unknown threshold {key} (known: {', '.join(parameters)})")
        try:
            TypeAdapter(hints[key]).validate_python(value, strict=True)  # strict: true is no number
        except ValidationError as error:
            raise ValueError(f"{name}.{key}: {error.errors()[0]['msg'].lower()}, found {value!r}") from None
        unread = [path for path in value if not Path(path).is_file()] if key == "files" else []
        if unread:
            raise ValueError(f"{name}.files: {unread[0]}: no such file")
        if isinstance(value, float) and isnan(value):  # which no value is above or below
            raise ValueError(f"{name}.{key}: is no number, found {value!r}")
    try:
        signature.bind(None, **arguments)
    except TypeError as error:
        raise ValueError(f"{name}: {error} (its thresholds: {', '.join(parameters)})") from None
