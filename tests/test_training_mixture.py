"""Sources in, one stream out: shares by tokens, epochs of their own, an order of seed, source and lane alone."""

from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.training.config import Data, Source
from pipeline.training.mixture import Walk, goto, next_source, state_of
from pipeline.training.sources import open_sources
from tests.training_shards import prose, write_shard


@pytest.mark.parametrize("weights", [(0.7385, 0.0615, 0.1718, 0.0282), (1.0, 1.0), (5.0, 0.01, 2.0)])
def test_shares_of_tokens_are_kept_within_a_thousandth_over_a_hundred_thousand_documents(
    weights: tuple[float, ...],
) -> None:
    """The lengths of the sources differ a hundredfold, and within a source by the shape that web documents have."""
    drawn = np.random.default_rng(1)
    lengths = [drawn.lognormal(mean, 1, 100_000).astype(int) + 2 for mean in np.linspace(3, 7.5, len(weights))]
    tokens, documents, ended = [0] * len(weights), [0] * len(weights), [False] * len(weights)
    for _ in range(100_000):
        chosen = next_source(tokens, weights, ended)
        assert chosen is not None
        tokens[chosen] += int(lengths[chosen][documents[chosen]])
        documents[chosen] += 1
    shares, wanted = np.array(tokens) / sum(tokens), np.array(weights) / sum(weights)
    assert np.abs(shares - wanted).max() < 1e-3


def test_what_a_source_leaves_when_it_ends_is_shared_by_weight() -> None:
    tokens, weights = [0, 0, 0], (0.5, 0.25, 0.25)
    for step in range(9000):
        chosen = next_source(tokens, weights, [False, False, step >= 3000])
        assert chosen is not None
        tokens[chosen] += 10
    assert tokens[2] == pytest.approx(7500, abs=10)
    assert tokens[0] == pytest.approx(2 * tokens[1], abs=20)
    assert next_source(tokens, weights, [True] * 3) is None


def corpus(folder: Path, documents: int = 23, shards: int = 3, row_group: int = 4) -> Path:
    for shard in range(shards):
        rows: list[list[str | bytes]] = [[prose(n, 9)] for n in range(shard, documents, shards)]
        write_shard(folder / f"train-{shard:05d}-of-{shards:05d}.parquet", rows, row_group)
    return folder


def walks(folder: Path, lanes: int = 1, seed: int = 0, name: str = "data", epochs: int | None = None) -> list[Walk]:
    source = Source(name=name, path=str(folder), epochs=epochs)
    [opened] = open_sources(Data(sources=(source,)))
    return [Walk(source, opened, seed, lane, lanes, WeakValueDictionary()) for lane in range(lanes)]


def epoch(walk: Walk) -> list[str]:
    found = []
    while (raw := walk.next()) is not None:
        found.append(raw.key)
    return found


def test_an_epoch_gives_each_document_once_in_an_order_of_seed_source_and_epoch(tmp_path: Path) -> None:
    corpus(tmp_path)
    [walk] = walks(tmp_path)
    first, second = epoch(walk), epoch(walk)
    assert len(set(first)) == len(first) == 23
    assert sorted(first) == sorted(second)
    assert first != second
    assert epoch(walks(tmp_path)[0]) == first
    assert epoch(walks(tmp_path, seed=1)[0]) != first
    assert epoch(walks(tmp_path, name="other")[0]) != first


@pytest.mark.parametrize("row_group", [1, 4, 100])  # units are dealt, or the documents of each
@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_lanes_share_each_epoch_without_loss_or_repeat(tmp_path: Path, lanes: int, row_group: int) -> None:
    corpus(tmp_path, row_group=row_group)
    found = [[epoch(walk) for _ in range(3)] for walk in walks(tmp_path, lanes)]
    for number in range(3):
        keys = [key for lane in found for key in lane[number]]
        assert len(keys) == len(set(keys)) == 23
        sizes = [len(lane[number]) for lane in found]
        assert max(sizes) - min(sizes) <= 5


@pytest.mark.parametrize("taken", [0, 1, 5, 12, 22, 23, 40])
def test_a_walk_goes_on_from_any_document(tmp_path: Path, taken: int) -> None:
    corpus(tmp_path)
    [walk] = walks(tmp_path)
    for _ in range(taken):
        walk.next()
    [other] = walks(tmp_path)
    goto([other], state_of([walk]))
    assert [epoch(other) for _ in range(2)] == [epoch(walk) for _ in range(2)]


def test_a_source_ends_after_its_epochs(tmp_path: Path) -> None:
    [walk] = walks(corpus(tmp_path), epochs=2)
    assert [len(epoch(walk)), walk.ended, len(epoch(walk)), walk.ended] == [23, False, 23, True]


def test_a_state_of_other_sources_is_refused_by_name(tmp_path: Path) -> None:
    [walk] = walks(corpus(tmp_path))
    with pytest.raises(UserError, match=r"data.sources: the training to go on with read wiki, now they are data"):
        goto([walk], {"wiki": walk.share.state()})
