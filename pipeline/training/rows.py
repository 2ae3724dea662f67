"""A row of a source in; its texts and image bytes in order out, by the source's kind."""

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

from pipeline.training.config import Columns, Source, Template
from pipeline.training.data import Raw, Said
from pipeline.training.tokenizer import END_OF_UTTERANCE

Resolve = Callable[[str], bytes | None]  # an image's address to its bytes
Piece = str | Said | bytes | None  # None: an image whose bytes are not to be had

ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}


def raw(key: str, row: Mapping[str, Any], source: Source, template: Template, resolve: Resolve) -> Raw:
    """A row as texts and images. What is of another type than it should be is left out, as this is others' data."""
    if source.kind == "text":
        pieces = _texts(row, source.columns)
    elif source.kind == "dialogues":
        pieces = _dialogue(row, source.columns, template, resolve)
    elif source.kind == "datasets":
        pieces = _named(row, source.columns, resolve)
    else:
        pieces = interleaved(row.get("texts"), row.get("images"), resolve)
    made = list(pieces)
    return Raw(key, [piece for piece in made if piece is not None], made.count(None))


def interleaved(texts: Any, images: Any, resolve: Resolve) -> Iterator[Piece]:
    """Parallel lists, in which one of both stands at each place."""
    for text, image in zip_longest(_list(texts), _list(images)):
        if isinstance(text, str):
            yield text
        if image is not None:
            yield image_bytes(image, resolve)


def image_bytes(value: Any, resolve: Resolve) -> bytes | None:
    """An image as bytes: as it is, as `{bytes, path}`, or by its address."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        return resolve(value)
    return value if isinstance(value, bytes) else None


def addresses(row: Mapping[str, Any], columns: Columns) -> Iterator[str]:
    """The images that a row names by address alone."""
    for value in [*_list(row.get(columns.images)), row.get(columns.image)]:
        found = value if not isinstance(value, Mapping) else None if value.get("bytes") else value.get("path")
        if isinstance(found, str):
            yield found


def plain_texts(row: Mapping[str, Any], columns: Columns) -> Iterator[str]:
    """All texts of a row of any kind, for learning a tokenizer."""
    yield from (piece for piece in _texts(row, columns) if isinstance(piece, str))
    for _, content in _turns(row, columns):
        yield from (part for part in content if isinstance(part, str))


def _texts(row: Mapping[str, Any], columns: Columns) -> Iterator[Piece]:
    text, texts = row.get(columns.text), _list(row.get(columns.texts))
    yield from (value for value in [text, *texts] if isinstance(value, str))


def _named(row: Mapping[str, Any], columns: Columns, resolve: Resolve) -> Iterator[Piece]:
    """Texts and images that stand parallel as in our shards; else the images before the texts."""
    texts, images = _list(row.get(columns.texts)), _list(row.get(columns.images))
    if len(texts) == len(images) and all((t is None) != (i is None) for t, i in zip(texts, images, strict=True)):
        yield from interleaved(texts, images, resolve)
        texts, images = [], []
    if row.get(columns.image) is not None:
        images = [row[columns.image], *images]
    yield from (image_bytes(image, resolve) for image in images if image is not None)
    if isinstance(text := row.get(columns.text), str):
        yield text
    yield from (text for text in texts if isinstance(text, str))


def _dialogue(row: Mapping[str, Any], columns: Columns, template: Template, resolve: Resolve) -> Iterator[Piece]:
    """The turns in the template's words; images where a turn says so, else before the first turn of the user."""
    images = [image for image in [row.get(columns.image), *_list(row.get(columns.images))] if image is not None]
    turns = [(role, list(content)) for role, content in _turns(row, columns)]
    named = sum(part is None for _, content in turns for part in content)
    waiting = iter(images)
    for role, content in turns:
        before, after = getattr(template, role).split("{text}")
        blank = before[len(before.rstrip(" ")) :]  # goes with the word after it, as tokenizers have it
        yield from _said(before.rstrip(" "))
        if role == "user" and not named:
            yield from (image_bytes(image, resolve) for image in waiting)
        for part in content:
            if part is None:
                yield image_bytes(next(waiting, None), resolve)
            elif part:
                yield Said(blank + part, learned=role == "assistant")
                blank = ""
        if role == "assistant" and after.startswith(END_OF_UTTERANCE):
            yield Said(END_OF_UTTERANCE, learned=True, token=True)
            after = after.removeprefix(END_OF_UTTERANCE)
        yield from _said(after)


def _said(text: str) -> Iterator[Said]:
    for number, part in enumerate(text.split(END_OF_UTTERANCE)):
        if number:
            yield Said(END_OF_UTTERANCE, token=True)
        if part:
            yield Said(part)


def _turns(row: Mapping[str, Any], columns: Columns) -> Iterator[tuple[str, list[str | None]]]:
    """Role and content of each turn; None stands for an image in it.

    `messages` of `{role, content}`, content a text or a list of `{type: text | image}`; or, as in The Cauldron, `texts`
    of `{user, assistant}`.
    """
    for message in _list(row.get(columns.messages)):
        if not isinstance(message, Mapping):
            continue
        role = ROLES.get(str(message.get("role") or message.get("from")))
        content = message.get("content", message.get("value"))
        if role:
            yield role, [content] if isinstance(content, str) else list(_parts(content))
    for turn in _list(row.get(columns.texts)):
        if isinstance(turn, Mapping):
            yield from ((role, [turn[role]]) for role in ("user", "assistant") if isinstance(turn.get(role), str))


def _parts(content: Any) -> Iterator[str | None]:
    for part in _list(content):
        if isinstance(part, Mapping):
            if part.get("type") == "image":
                yield None
            elif isinstance(part.get("text"), str):
                yield part["text"]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
