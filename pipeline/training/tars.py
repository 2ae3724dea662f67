"""WebDataset tars in; pairs of an image and its caption out.

A pair is two files of one name: an image (jpg, jpeg, png, webp) and a caption (txt, or json with a field of it). A tar is
others' data: only plain files within the limits are read, nothing is written, and what is whole in a tar that was cut
off is used.
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipeline.errors import UserError
from pipeline.training.config import Data, Source
from pipeline.training.data import Raw, Unit

IMAGES, CAPTIONS = ("jpg", "jpeg", "png", "webp"), ("txt", "json")
MAX_CAPTION = 1 << 20  # bytes
BLOCK = tarfile.BLOCKSIZE

Place = tuple[int, int]  # where a member's bytes begin, and how many there are


@dataclass(slots=True)
class _Pair:
    image: Place | None = None
    caption: Place | None = None
    parsed: bool = False  # the caption is JSON


@dataclass(frozen=True, slots=True)
class Tars:
    source: Source
    settings: Data
    paths: list[Path]
    prefix: str = ""
    rows: None = None

    @classmethod
    def found(cls, source: Source, settings: Data, prefix: str) -> Self:
        """The tars of a source, by name.

        Raises:
            UserError: there is none, or the first one is no tar.
        """
        path = Path(source.path)
        if not path.exists():
            raise UserError(f"{path}: no such folder or file, which the source {source.name} names")
        paths = [path] if path.is_file() else sorted(path.glob(f"{source.split}-*.tar")) or sorted(path.glob("*.tar"))
        if not paths:
            raise UserError(
                f"{path}: no *.tar in it (compressed ones are not read: their pairs cannot be found by place)"
            )
        with paths[0].open("rb") as file:
            start = file.read(BLOCK)
        if start[257:262] != b"ustar" and start.strip(b"\0"):
            raise UserError(
                f"{paths[0]}: no tar, or a compressed one, which is not read: its pairs cannot be found by place"
            )
        return cls(source, settings, paths, prefix)

    @property
    def units(self) -> int:
        return len(self.paths)

    def open(self, unit: int) -> Unit:
        path = self.paths[unit]
        pairs, lost, end = self._pairs(path)
        whole = [(key, pair) for key, pair in pairs.items() if pair.image and pair.caption]
        single = len(pairs) - len(whole)
        notes = []
        if end is not None:
            notes.append(
                f"{path}: it ends early, or is damaged, at byte {end:,}; its {len(whole)} whole pairs are read"
            )
        if lost or single:
            notes.append(
                f"{path}: {lost} members were left out (no plain files, too large, twice) and {single} half pairs"
            )

        def read(row: int) -> Raw:
            key, pair = whole[row]
            assert pair.image
            assert pair.caption
            with path.open("rb") as file:
                image, caption = (_bytes(file, place) for place in (pair.image, pair.caption))
            text = self._caption(caption, pair.parsed)
            return Raw(f"{self.prefix}{path.name}:{key}", [image, text] if text else [image])

        return Unit(len(whole), read, notes, lost + single + (end is not None))

    def texts(self, unit: int) -> Iterator[list[str]]:
        path = self.paths[unit]
        pairs, _, _ = self._pairs(path)
        with path.open("rb") as file:
            for pair in pairs.values():
                if pair.image and pair.caption and (text := self._caption(_bytes(file, pair.caption), pair.parsed)):
                    yield [text]

    def _pairs(self, path: Path) -> tuple[dict[str, _Pair], int, int | None]:
        """Pairs and halves by name, how many members were left out, and the byte at which the tar breaks off, if so."""
        pairs, lost, at = dict[str, _Pair](), 0, 0
        try:
            size = path.stat().st_size
            with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    at = tar.offset
                    tar.members = []  # type: ignore[attr-defined]  # else it keeps all of them
                    if member.offset_data + member.size > size:
                        return pairs, lost, member.offset
                    lost += not (member.isdir() or self._take(member, pairs))
                file.seek(tar.offset)
                ends = len(block := file.read(BLOCK)) == BLOCK and not block.strip(b"\0")
                return pairs, lost, None if ends else at
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
        except (tarfile.TarError, EOFError, ValueError, RecursionError, OverflowError):
            return pairs, lost, at

    def _take(self, member: tarfile.TarInfo, pairs: dict[str, _Pair]) -> bool:
        folder, _, file = member.name.rpartition("/")
        stem, _, ending = file.partition(".")
        ending = ending.lower()
        if not member.isreg() or member.issparse():
            return False
        if ending not in {*IMAGES, *CAPTIONS}:
            return True  # a further file of a pair, such as its embedding
        if member.size > (self.settings.max_bytes if ending in IMAGES else MAX_CAPTION):
            return False
        key = f"{folder}/{stem}".lstrip("/").encode("utf-8", "replace").decode()
        pair = pairs.setdefault(key, _Pair())
        place = member.offset_data, member.size
        if ending in IMAGES:
            if pair.image:
                return False
            pair.image = place
        elif pair.caption is None or (pair.parsed and ending == "txt"):  # both are usual; a text is only the caption
            pair.caption, pair.parsed = place, ending == "json"
        elif pair.parsed == (ending == "json"):
            return False
        return True

    def _caption(self, data: bytes, parsed: bool) -> str | None:
        text: Any = data.decode("utf-8", "replace")
        if parsed:
            try:
                row = json.loads(text)
            except (ValueError, RecursionError):
                return None
            text = (row.get(self.source.columns.text) or row.get("caption")) if isinstance(row, dict) else None
        return text if isinstance(text, str) else None


def _bytes(file: Any, place: Place) -> bytes:
    file.seek(place[0])
    return bytes(file.read(place[1]))
