"""A YAML file and a pydantic model in; the settings it holds, or one line that says what is wrong with it, out."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is written twice is an error, not the second silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor`, whose keys may be written over
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float):
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is no name", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping in a YAML file, with `a.b=c` overrides applied (values are YAML, too).

    Raises:
        UserError: no such file, no YAML, no mapping, or an override that is not of the form `a.b=c`.
    """
    try:
        raw = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: what looks like a date and is none
        raise UserError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected a mapping of sections, found {type(raw).__name__}")
    for override in overrides:
        _override(raw, override)
    return raw


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set {override}: expected section.key=value")
    try:
        parsed = yaml.load(value, _Loader)
    except (yaml.YAMLError, ValueError):
        raise UserError(f"--set {override}: {value!r} is no YAML value") from None
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            raise UserError(f"--set {override}: {parent} is no section")
    place[last] = parsed


def validate(model: type[Model], raw: dict[str, Any], path: str) -> Model:
    """Checks a mapping against a pydantic model.

    Raises:
        UserError: names the file, the key, the value found and the choices; the first problem and how many more.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = error.errors()
        first = problems[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        if first["type"] == "extra_forbidden":
            said = unknown("key", str(first["loc"][-1]), _known(model, first["loc"][:-1]))
        elif first["type"] == "missing":
            said = "is missing"
        elif first["type"] == "value_error":
            said = str(first["ctx"]["error"])
        else:
            said = f"{first['msg'].lower()}, found {first['input']!r:.80}"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{path}: {key}: {said}{more}") from None


def _known(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    for part in place:
        if not isinstance(part, str) or part not in model.model_fields:
            continue
        annotation = model.model_fields[part].annotation
        for choice in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(choice, type) and issubclass(choice, BaseModel):
                model = choice
    return list(model.model_fields)


def unknown(what: str, name: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, choices, 1)
    return f"unknown {what}{f', did you mean {near[0]}?' if near else ''} (known: {', '.join(choices)})"
