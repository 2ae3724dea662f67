"""A trained model and its documents in; each document's loss beside its key out, as Parquet tables of a folder.

    OUT/scores.json                        the model and the settings that the losses hold for
        SOURCE/SHARD.parquet               a row a document, in the order of the shard

The pipeline reads it back by the record that a document is of: `scores.training_loss` in a run's configuration.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline.errors import UserError
from pipeline.losses import RECORD
from pipeline.storage import TableWriter, aside, identity, sha256_of, write_json
from pipeline.training.config import TrainConfig
from pipeline.training.data import Document, Raw, RowGroup, read
from pipeline.training.language import Language, language
from pipeline.training.model import skeleton, token_losses
from pipeline.training.once import in_step, once
from pipeline.training.parallel import Ranks, ranks, to_shard
from pipeline.training.resume import MODEL
from pipeline.training.setup import fill_in
from pipeline.training.sources import Lines, Opened, Parquet
from pipeline.training.tars import Tars

SETTINGS = "scores.json"

SCHEMA = pa.schema(
    [
        *RECORD.items(),  # null where the source does not say
        ("source", pa.string()),
        ("key", pa.string()),  # of the document in the source: shard and row
        ("loss", pa.float32()),  # nats a learned token; null where nothing is learned
        ("z", pa.float32()),  # squared log-partition, the mean over the same tokens
        ("tokens", pa.int64()),  # learned ones
        ("images", pa.int32()),  # that were shown
        ("broken_images", pa.int32()),
    ]
)


@dataclass(slots=True)
class Scored:
    """Sums of a document, over all its windows."""

    cross_entropy: float = 0.0
    z: float = 0.0
    tokens: int = 0
    images: int = 0
    broken_images: int = 0


def score_documents(config: TrainConfig, folder: Path, report: Callable[[str], None] = print) -> Path:
    """Scores every document of the configured sources with the model in `OUTPUT/model`; shards that are done stay.

    Under torchrun the ranks share the shards. Documents are packed as for training, which changes no document's loss.

    Raises:
        UserError: no model, sources that cannot be read, a folder that holds something else or losses of another
            model or settings.
    """
    model_folder = Path(config.output) / MODEL
    with ranks() as here:
        said = report if here.first else lambda line: None
        config = _scoring(config, model_folder)
        here.agreed(lambda: _claim(folder, config, model_folder, here))
        spoken = here.agreed(lambda: language(config))
        shards = [
            (source.name, opened, name, units)
            for source, opened in zip(config.data.listed, spoken.sources, strict=True)
            for name, units in _shards(opened)
        ]
        waiting = [each for each in shards if not _done(folder, *each)]
        said(f"{len(shards) - len(waiting):,} of {len(shards):,} shards are scored")
        if waiting:
            model = skeleton(config, spoken.vocabulary)
            fill_in(model, config, here, to_shard(model, config.parallel, here))
            model.eval()
            turns = -(-len(waiting) // here.world)
            for turn in range(turns):
                place = turn * here.world + here.rank
                mine = waiting[place] if place < len(waiting) else None
                try:
                    _score(model, config, spoken, folder, mine, here)
                except OSError as error:
                    raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None
                said(f"{min(len(waiting), (turn + 1) * here.world):,} of {len(waiting):,} shards")
    return folder


def _scoring(config: TrainConfig, model_folder: Path) -> TrainConfig:
    """The configuration with the trained model in the place of what it was made of."""
    if not (model_folder / "config.json").is_file():
        raise UserError(f"{model_folder}: no trained model in it; `carnac train` makes one")
    trained = {"checkpoint": str(model_folder), "language": None, "vision_encoder": None, "lora": None, "train": None}
    micro_batch = config.micro_batch or min(config.batch_size, 8)
    changes = {
        "model": config.model.model_copy(update=trained),
        "tokenizer": config.tokenizer.model_copy(update={"path": str(model_folder)}),
        "micro_batch": micro_batch,
    }
    return config.model_copy(update=changes)


def _claim(folder: Path, config: TrainConfig, model_folder: Path, here: Ranks) -> None:
    """Says in the folder what its losses hold for.

    Raises:
        UserError: it holds something else, or losses that hold for another model or other settings.
    """
    if not here.first:
        return
    weights = sorted(model_folder.glob("*.safetensors"))
    mine = {
        "model": [sha256_of(path) for path in weights],
        "packing.tokens": config.packing.tokens,
        "packing.images": config.packing.images,
        "images": config.images.model_dump(mode="json"),
        "loss.fake_token": config.loss.fake_token,
        "parallel.precision": config.parallel.precision,
    }
    try:
        if not (folder / SETTINGS).is_file():
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise UserError(f"{folder}: holds something that is no scores; choose another folder")
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / SETTINGS, mine)
        theirs = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: cannot be used: {getattr(error, 'strerror', None) or error}") from None
    for key, value in mine.items():
        if theirs.get(key) != value:
            raise UserError(
                f"{folder}: holds losses of another {key.replace('.', ' ')}; remove it or choose another folder"
            )


def _shards(opened: Opened) -> Iterator[tuple[str, list[int]]]:
    """The units of a source that are one file together, by the file's name; else each unit by its number."""
    if not isinstance(opened, Parquet):
        yield from ((f"{unit:06d}", [unit]) for unit in range(opened.units))
        return
    by_file: dict[Path, list[int]] = {}
    for unit, group in enumerate(opened.groups):
        by_file.setdefault(group.path, []).append(unit)
    yield from ((path.stem, units) for path, units in by_file.items())


def _path(folder: Path, source: str, name: str) -> Path:
    return folder / source / f"{name}.parquet"


def _mark(opened: Opened, units: list[int]) -> dict[bytes, bytes]:
    """What the table of a shard says of the file that it is of: where that changes, it is scored again."""
    if isinstance(opened, Parquet):
        said = identity(str(opened.groups[units[0]].path))
    elif isinstance(opened, Lines):
        said = identity(str(opened.parts[units[0]][0]))
    elif isinstance(opened, Tars):
        said = identity(str(opened.paths[units[0]]))
    else:
        said = f"{opened.rows} rows"
    return {b"shard": said.encode()}


def _done(folder: Path, source: str, opened: Opened, name: str, units: list[int]) -> bool:
    try:
        found = pq.read_schema(_path(folder, source, name)).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return False
    return _mark(opened, units).items() <= found.items()


def _score(
    model: Any,
    config: TrainConfig,
    spoken: Language,
    folder: Path,
    mine: tuple[str, Opened, str, list[int]] | None,
    here: Ranks,
) -> None:
    """Scores a shard; a rank that has none goes along with padding."""
    scored: dict[str, Scored] = {}

    def seen(document: Document) -> None:
        scored[document.key] = Scored(images=document.images, broken_images=document.broken_images)

    rows = _rows(mine[1], mine[3]) if mine else iter(())
    batches = once(rows, config, spoken, seen=seen)
    for batch in in_step(batches, config, spoken, here):
        with torch.no_grad():
            losses = token_losses(model, batch, config.loss)
        most = max(map(len, batch.keys)) + 1
        window = batch.document + 1  # padding is 0
        sums = torch.zeros(3, len(window), most, dtype=torch.float64, device=window.device)
        for place, values in enumerate((losses.cross_entropy, losses.z, losses.learned)):
            sums[place].scatter_add_(1, window, values.double())
        cross_entropy, z, learned = sums.tolist()
        for row, keys in enumerate(batch.keys):
            for number, key in enumerate(keys, 1):
                found = scored[key]
                found.cross_entropy += cross_entropy[row][number]
                found.z += z[row][number]
                found.tokens += int(learned[row][number])
    if mine:
        _write(folder, *mine, scored)


def _rows(opened: Opened, units: list[int]) -> Iterator[Raw]:
    for number in units:
        unit = opened.open(number)
        yield from map(unit.read, range(unit.rows))


def _write(folder: Path, source: str, opened: Opened, name: str, units: list[int], scored: dict[str, Scored]) -> None:
    path = _path(folder, source, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    records = _records(opened, units)
    with aside(path) as temporary:
        writer = TableWriter(temporary, SCHEMA.with_metadata(_mark(opened, units)))
        for key, found in scored.items():
            count = found.tokens
            measured = {
                "loss": found.cross_entropy / count if count else None,
                "z": found.z / count if count else None,
                "tokens": count,
                "images": found.images,
                "broken_images": found.broken_images,
            }
            writer.write({**next(records), "source": source, "key": key, **measured})
        writer.close()


def _records(opened: Opened, units: list[int]) -> Iterator[dict[str, Any]]:
    """The WARC record of each document, as `general_metadata` of our shards and of OBELICS says it."""
    unknown: dict[str, Any] = dict.fromkeys(RECORD)
    if not isinstance(opened, Parquet):
        yield from repeat(unknown)
        return
    for unit in units:
        for text in _column(opened.groups[unit], "general_metadata"):
            try:
                said = json.loads(text or "{}")
            except ValueError:
                said = {}
            known = {name: said[name] for name in RECORD if name in said} if isinstance(said, dict) else {}
            yield unknown | {name: value for name, value in known.items() if _fits(name, value)}


def _column(group: RowGroup, name: str) -> list[str | None]:
    try:
        values: list[str | None] = read(group, [name])[name].to_pylist()
    except KeyError:
        return [None] * group.rows
    return values


def _fits(name: str, value: Any) -> bool:
    return type(value) is (int if pa.types.is_integer(RECORD[name]) else str)
