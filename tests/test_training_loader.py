"""A configuration in, micro-batches out: one order, whatever the ranks, the workers and the interruptions."""

import json
import multiprocessing
import os
import pickle
import signal
from collections import Counter
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import UserError
from pipeline.training.batch import Batch
from pipeline.training.config import TrainConfig
from pipeline.training.language import Language
from pipeline.training.loader import Loader, check_lanes
from pipeline.training.sources import open_sources
from tests.training_shards import BYTES, FORM, picture, prose, tiny, write_shard

LANES = 12


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """61 documents of one or two images and two texts; row groups small enough to be dealt whole, and one that is not."""
    folder = tmp_path_factory.mktemp("corpus")
    rows: list[list[str | bytes]] = [
        [prose(n, 3), *(picture(n + i) for i in range(n % 3)), prose(n + 100, 4 + n % 5)] for n in range(61)
    ]
    write_shard(folder / "fine" / "train-00000-of-00001.parquet", rows, 1)
    write_shard(folder / "coarse" / "train-00000-of-00001.parquet", rows, 25)
    return folder


def configured(folder: Path, lanes: int = LANES, workers: int = 0, **changes: Any) -> TrainConfig:
    source = {"name": "web", "path": str(folder), **changes.pop("source", {})}
    data = {"sources": [source], "lanes": lanes, "workers": workers, **changes.pop("data", {})}
    packing = {"tokens": 128, "images": 4, "window": 4, **changes.pop("packing", {})}
    return tiny(folder, folder, data=data, packing=packing, micro_batch=2, batch_size=12, **changes)


def loader(config: TrainConfig, **settings: Any) -> Loader:
    return Loader(config, Language(open_sources(config.data), None, BYTES, FORM), **settings)


def drawn(made: Loader, count: int | None = None) -> list[Batch]:
    try:
        return list(islice(made, count))
    finally:
        made.close()


def same(one: Batch, other: Batch) -> bool:
    tensors = ("input_ids", "labels", "position", "document", "image", "source", "pixels", "extent", "slots")
    return one.keys == other.keys and all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)


def test_a_batch_crosses_to_another_process_as_one_tensor(corpus: Path) -> None:
    made = loader(configured(corpus / "coarse", lanes=2))
    for batch in [*drawn(made, 9), made.padding()]:
        values, *others = batch.__getstate__()
        assert [torch.is_tensor(value) for value in (*values.values(), *others)] == [False] * len(values) + [True]
        again = pickle.loads(pickle.dumps(batch))
        assert same(batch, again)
        assert again.state == batch.state


def keys_of(batches: list[Batch]) -> list[str]:
    return [key for batch in batches for keys in batch.keys for key in keys]


@pytest.mark.parametrize(
    ("world", "workers", "grain"),
    [*product((1, 2, 3), (0,), ("fine", "coarse")), (1, 2, "fine"), (3, 2, "coarse")],
)
def test_an_epoch_gives_each_document_once_on_any_number_of_ranks(
    corpus: Path, world: int, workers: int, grain: str
) -> None:
    config = configured(corpus / grain, workers=workers, source={"epochs": 1})
    keys = [key for rank in range(world) for key in keys_of(drawn(loader(config, rank=rank, world=world)))]
    assert len(keys) == 61
    assert set(Counter(keys).values()) == {1}


def test_the_order_is_the_same_on_any_number_of_ranks_and_workers(corpus: Path) -> None:
    alone = drawn(loader(configured(corpus / "fine")), 30)
    for world, workers in ((1, 2), (2, 0), (3, 2)):
        config = configured(corpus / "fine", workers=workers)
        ranks = [drawn(loader(config, rank=rank, world=world), 30 // world) for rank in range(world)]
        together = [batch for turn in zip(*ranks, strict=True) for batch in turn]
        assert all(same(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_goes_on_to_the_bit_from_any_batch(corpus: Path, workers: int) -> None:
    """Mid-pack too: a pack gives more sequences than a batch takes."""
    config = configured(corpus / "coarse", lanes=2, workers=workers, packing={"window": 9})
    alone = configured(corpus / "coarse", lanes=2, packing={"window": 9})
    whole = drawn(loader(alone), 16)
    assert whole[-1].epoch > 0
    places = range(0, 13, 3 if workers == 0 else 6)
    assert any(whole[done - 1].state["given"] for done in places[1:])
    for done in places:
        first = loader(config)
        drawn(first, done)
        state = json.loads(json.dumps(first.state_dict()))
        rest = drawn(loader(config, state=state), 16 - done)
        assert all(same(one, other) for one, other in zip(whole[done:], rest, strict=True))


def test_a_training_on_two_ranks_goes_on_alone_and_on_three(corpus: Path) -> None:
    config = configured(corpus / "fine")
    whole = drawn(loader(config), 30)
    ranks = [loader(config, rank=rank, world=2) for rank in range(2)]
    for rank in ranks:
        drawn(rank, 6)
    states = [rank.state_dict() for rank in ranks]
    assert [state["next"] for state in states] == [12, 12]
    merged = {"next": 12, "lanes": states[0]["lanes"] | states[1]["lanes"]}
    assert len(json.dumps(merged)) < 700 * LANES
    rest = drawn(loader(config, state=merged), 18)
    assert all(same(one, other) for one, other in zip(whole[12:], rest, strict=True))
    three = [drawn(loader(config, rank=rank, world=3, state=merged), 6) for rank in range(3)]
    together = [batch for turn in zip(*three, strict=True) for batch in turn]
    assert all(same(one, other) for one, other in zip(whole[12:], together, strict=True))


def test_read_ahead_does_not_count_as_read(corpus: Path) -> None:
    config = configured(corpus / "fine", workers=2, data={"ahead": 4})
    made = loader(config)
    stream = iter(made)
    next(stream)
    state = made.state_dict()
    made.close()
    assert state["next"] == 1
    assert [lane for lane, known in state["lanes"].items() if known["counts"]["web"]["documents"]] == ["0"]


def test_counts_say_what_was_read_since_the_first_step(corpus: Path) -> None:
    config = configured(corpus / "fine", lanes=1, source={"epochs": 1})
    made = loader(config)
    batches = drawn(made, 3)
    resumed = loader(config, state=made.state_dict())
    batches += drawn(resumed)
    counts = resumed.counts()["web"]
    assert (counts["documents"], counts["images"]) == (61, sum(n % 3 for n in range(61)))
    assert counts["tokens"] == sum(batch.tokens for batch in batches)
    assert counts["images"] == sum(batch.images for batch in batches)


def test_shares_of_sources_are_those_of_their_tokens(corpus: Path) -> None:
    sources = [{"name": n, "path": str(corpus / "fine"), "weight": w} for n, w in (("one", 3), ("two", 1))]
    config = tiny(
        corpus, corpus, data={"sources": sources, "lanes": 2}, packing={"tokens": 128, "images": 4, "window": 8}
    )
    made = loader(config)
    batches = drawn(made, 60)
    counts = made.counts()
    assert counts["one"]["tokens"] == pytest.approx(3 * counts["two"]["tokens"], rel=0.05)
    seen = Counter(int(source) for batch in batches for source in batch.source.flatten())
    assert seen[0] == pytest.approx(3 * seen[1], rel=0.15)  # what of the packs at hand is still to come is not in it
    assert all(((batch.source >= 0) == (batch.document >= 0)).all() for batch in batches)
    assert counts["one"]["epoch"] > counts["two"]["epoch"]  # each has its own
    assert any(key.startswith("two/train-") for key in keys_of(batches))


def test_documents_that_are_left_out_are_padding_and_move_no_other(corpus: Path) -> None:
    config = configured(corpus / "fine", lanes=1)
    whole = drawn(loader(config), 8)
    bad = frozenset(keys_of(whole)[2:6])
    without = drawn(loader(config, leave_out=bad), 8)
    assert keys_of(without) == [key for key in keys_of(whole) if key not in bad]
    for one, other in zip(whole, without, strict=True):
        assert [[k for k in keys if k not in bad] for keys in one.keys] == other.keys
        assert other.tokens < one.tokens or bad.isdisjoint(keys_of([one]))


def test_a_rank_whose_sources_have_ended_fills_its_last_batch_with_padding(corpus: Path) -> None:
    made = loader(configured(corpus / "fine", lanes=1, source={"epochs": 1}))
    batches = drawn(made)
    assert {tuple(batch.input_ids.shape) for batch in batches} == {(2, 128)}
    assert all(batch.tokens for batch in batches)
    empty = made.padding()
    assert (empty.tokens, empty.images, tuple(empty.input_ids.shape)) == (0, 0, (2, 128))
    assert (empty.labels == -100).all()
    assert drawn(loader(made.config, state=made.state_dict())) == []


def test_a_pack_closes_early_when_its_pictures_take_too_much(corpus: Path) -> None:
    pictures = 28 * 28 * 3
    small = configured(corpus / "fine", lanes=1, packing={"window": 40, "held": 3 * pictures})
    made = loader(small)
    drawn(made, 1)
    assert made.counts()["web"]["images"] <= 3 + 2


def test_lanes_that_cannot_be_shared_are_refused_by_name(corpus: Path) -> None:
    with pytest.raises(
        UserError, match=r"data.lanes 12 must be a multiple of GPUs \(8\) times data.workers \(2\): 16, 32"
    ):
        loader(configured(corpus / "fine", workers=2), world=8)
    check_lanes(12, 3, 0)


def test_a_state_of_other_lanes_or_sources_is_refused_by_name(corpus: Path) -> None:
    state = loader(configured(corpus / "fine", lanes=2)).state_dict()
    with pytest.raises(UserError, match=r"data.lanes 4: the training to go on with has 2"):
        loader(configured(corpus / "fine", lanes=4), state=state)
    with pytest.raises(UserError, match="read web, now they are wiki"):
        loader(configured(corpus / "fine", lanes=2, source={"name": "wiki"}), state=state)


def test_fewer_documents_than_lanes_are_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-00000-of-00001.parquet", [[prose(1, 9)], [prose(2, 9)]])
    with pytest.raises(UserError, match=r"the source web holds fewer documents than data.lanes, 12"):
        drawn(loader(configured(tmp_path)), 12)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_without_text_is_one_line(tmp_path: Path, workers: int) -> None:
    write_shard(tmp_path / "train-00000-of-00001.parquet", [[picture(1)], [" "], []])
    with pytest.raises(UserError, match="no document of its train split holds any text") as caught:
        drawn(loader(configured(tmp_path, lanes=1, workers=workers)), 1)
    assert "\n" not in str(caught.value)


def test_a_source_without_images_trains(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-00000-of-00001.parquet", [[prose(n, 9)] for n in range(6)])
    [batch] = drawn(loader(configured(tmp_path, lanes=1)), 1)
    assert (batch.images, batch.places) == (0, 1)
    assert (batch.image == -1).all()


def test_a_worker_that_dies_is_one_line_and_the_first_signal_to_the_group_is_survived(corpus: Path) -> None:
    before = {child.pid for child in multiprocessing.active_children()}
    made = loader(configured(corpus / "fine", workers=1, lanes=1))
    stream = iter(made)
    next(stream)
    [worker] = [child for child in multiprocessing.active_children() if child.pid not in before]
    assert worker.pid
    os.kill(worker.pid, signal.SIGTERM)
    for _ in range(8):
        next(stream)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(UserError, match="a process that reads the data died") as caught:
        list(islice(stream, 1000))
    assert "\n" not in str(caught.value)
    made.close()
