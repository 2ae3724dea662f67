"""Tiny shards and configurations for the training tests."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.training.config import Data, TrainConfig
from pipeline.training.data import decode
from pipeline.training.image_forms import Idefics, Pictures
from pipeline.training.packing import Window
from pipeline.training.tokenizer import Vocabulary

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("images", pa.list_(IMAGE)),
        ("metadata", pa.string()),
        ("general_metadata", pa.string()),
        ("texts", pa.list_(pa.string())),
        ("crawl_date", pa.timestamp("s", tz="UTC")),
    ]
)
WORDS = (
    *("the", "river", "bends", "south", "of", "a", "mill", "where", "two", "herons", "wait", "and", "boats"),
    *("carry", "grain", "under", "an", "old", "stone", "bridge", "between", "yellow", "meadows"),
)

PAD, BOS, EOS, F, I = 0, 1, 2, 300, 301  # noqa: E741


def spell(text: str) -> list[int]:
    return [3 + byte for byte in text.encode()]


BYTES = Vocabulary(spell, 300, PAD, BOS, EOS, F, I)  # a token a byte
FORM = Idefics(28, I)

Row = list[str | bytes]  # texts and image files, in order


def picture(seed: int, kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    """A file with a drawn gradient, another for each seed."""
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    pixels = np.stack([across * 5 + seed * 40, down * 7 + seed * 90, across + down + seed * 20], axis=-1) % 256
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.astype(np.uint8)).save(file, kind)
    return file.getvalue()


def shown(seed: int) -> Pictures:
    """A picture as the tiny model sees it."""
    pictures = decode(picture(seed), FORM, Data(path="none"))
    assert pictures is not None
    return pictures


def window(key: str, ids: list[int], images: list[Pictures], source: int = 0) -> Window:
    """A window of byte tokens, of which all is learned but its beginning and `<image>`."""
    return Window(key, ids, images, [i not in {BOS, I} for i in ids], source)


def prose(seed: int, words: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words)) + "."


def write_shard(path: Path, rows: list[Row], row_group: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [[None if isinstance(p, str) else {"bytes": p, "path": None} for p in row] for row in rows]
    texts = [[p if isinstance(p, str) else None for p in row] for row in rows]
    metadata = [json.dumps([None] * len(row)) for row in rows]
    general = [json.dumps({"url": f"https://example.org/{path.name}/{n}"}) for n in range(len(rows))]
    table = pa.table([images, metadata, general, texts, [None] * len(rows)], schema=SCHEMA)
    pq.write_table(table, path, row_group_size=row_group)


def write_corpus(folder: Path, documents: int = 12, shards: int = 2) -> None:
    """Documents of two texts around one to three images."""
    for shard in range(shards):
        rows: list[Row] = [
            [prose(n, 12), *(picture(n + i, ("PNG", "JPEG", "WEBP")[i]) for i in range(1 + n % 3)), prose(n + 1000, 20)]
            for n in range(shard, documents, shards)
        ]
        write_shard(folder / f"train-{shard:05d}-of-{shards:05d}.parquet", rows)


def tiny(data: Path, output: Path, /, **changes: Any) -> TrainConfig:
    """The smallest model that has every part; `changes` replace whole sections or top-level values."""
    raw: dict[str, Any] = {
        "data": {"path": str(data)},
        "output": str(output),
        "tokenizer": {"vocab_size": 320},
        "packing": {"tokens": 64, "images": 4, "window": 8},
        "model": {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "cross_layer_interval": 2,
            "max_position_embeddings": 128,
            "initializer_range": 0.08,
            "vision": {
                "image_size": 28,
                "embed_dim": 24,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
            },
            "perceiver": {"n_latents": 4, "depth": 2, "n_heads": 2, "head_dim": 12},
        },
        "optimizer": {"learning_rate": 3e-3, "final_learning_rate": 1e-3, "warmup_steps": 1},
        "sample": {"prompt_tokens": 8, "new_tokens": 8},
        "steps": 4,
        "batch_size": 2,
        "threads": 1,
    }
    return TrainConfig.model_validate(raw | changes)


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The events of a training, by its output folder."""
    return [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]


def steps_of(folder: Path) -> list[dict[str, Any]]:
    return [line for line in log_of(folder) if line["event"] == "step"]


def written(config: TrainConfig) -> str:
    """The configuration as a file beside its output, for the command; its path."""
    path = Path(f"{config.output}.yaml")
    path.write_text(config.model_dump_json(), encoding="utf-8")
    return str(path)
