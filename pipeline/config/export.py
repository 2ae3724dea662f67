"""How the corpus is written: the settings under `export`."""

from typing import Literal

from pydantic import Field

from pipeline.config.section import Bytes, Section


class Export(Section):
    """Shards for training (`images`: with bytes) and for publishing (`urls`: addresses alone)."""

    forms: list[Literal["images", "urls"]] = Field(default=["images", "urls"], min_length=1)
    shard_size: Bytes = 500 * 10**6
    row_group_size: Bytes = 64 * 10**6
    validation: float = Field(default=0.0, ge=0, lt=1)  # share of the documents, drawn by the hash of their address
    licence: str = "other"
    title: str = "An interleaved image-text corpus"
