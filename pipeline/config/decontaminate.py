"""Evaluation sets of which nothing may be trained on: the settings under `decontaminate`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.config.duplicates import DISTANCE
from pipeline.config.section import Readable, Section


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Columns = Annotated[tuple[str, ...], BeforeValidator(_several)]


class Benchmark(Section):
    """An evaluation set, Parquet or JSON lines, of which nothing may be trained on: n-grams of words of the columns `text`,
    and images of the columns `image` (bytes, paths beside the set, or hashes in hexadecimal: phash or PDQ)."""

    name: str = Field(pattern=r"^[\w.-]+$")
    path: Readable
    text: _Columns = ()
    image: _Columns = ()
    id: str | None = None  # column that names a row in the ledger; none: its number
    n: int = Field(default=13, ge=2, le=100)  # words; a shorter text is not compared
    drop: Literal["document", "paragraph"] = "document"
    # An n-gram in more documents is a common phrase (GPT-3, arXiv 2005.14165, appendix C); null: none is too common.
    max_documents: int | None = Field(default=10, ge=1)
    pdq: int = Field(default=DISTANCE["pdq"], ge=0, le=2 * DISTANCE["pdq"])  # bits between copies of an image
    phash: int = Field(default=DISTANCE["phash"], ge=0, le=2 * DISTANCE["phash"])

    @model_validator(mode="after")
    def _there(self) -> Self:
        from pipeline.benchmarks import columns

        if not self.text and not self.image:
            raise ValueError(f"{self.name}: name its columns: text or image")
        known = columns(self.path)
        for name in (*self.text, *self.image, *([self.id] if self.id else [])):
            if name not in known:
                raise ValueError(f"{self.path}: no column {name} (its columns: {', '.join(known)})")
        return self


def _named_once(sets: tuple[Benchmark, ...]) -> tuple[Benchmark, ...]:
    names = [benchmark.name for benchmark in sets]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two sets are named {min(twice)}")
    return sets


Benchmarks = Annotated[tuple[Benchmark, ...], AfterValidator(_named_once)]
