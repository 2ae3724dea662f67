"""Bytes of an XML document in; its elements, one after another, out. Hostile ones are refused, none is believed."""

from collections.abc import Callable
from xml.parsers import expat

MAX_BYTES = 4 * 10**6
MAX_DEPTH = 64


class Malformed(Exception):
    """The bytes are not what they are said to be."""


def walk(data: bytes, element: Callable[[str, dict[str, str], str], None]) -> None:
    """Calls `element` at the end of each, with its name and those of its attributes as "namespace name", and its text.

    A document type, and so any entity of its own, is an error: nothing here needs one, and bombs are made of them.
    Raises Malformed, after the elements before the place of the error were handed on.
    """
    if len(data) > MAX_BYTES:
        raise Malformed(f"{len(data)} bytes, at most {MAX_BYTES}")
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    open_elements: list[tuple[str, dict[str, str], list[str]]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(open_elements) >= MAX_DEPTH:
            raise Malformed(f"elements nested deeper than {MAX_DEPTH}")
        open_elements.append((name, attributes, []))

    def end(name: str) -> None:
        name, attributes, text = open_elements.pop()
        element(name, attributes, "".join(text))

    def text(part: str) -> None:
        if open_elements:
            open_elements[-1][2].append(part)

    def document_type(*_: object) -> None:
        raise Malformed("has a document type")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, document_type
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Malformed(str(error)) from None
