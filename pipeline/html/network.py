"""The features of a page's blocks in; the probability that each is main content out."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import as_strided

from filters.ngrams import Hashes
from pipeline.html.blocks import Floats
from pipeline.html.features import Table
from pipeline.html.lexicon import Lexicon, lexicon

CLIP = 5.0  # standard deviations
DILATIONS = (1, 4)  # of the two convolutions over neighbouring blocks
WIDTH = 5  # blocks that each looks at
_REACH = max(DILATIONS) * (WIDTH // 2)  # blocks to either side


@dataclass(slots=True)
class Network:
    """H hidden units a block. The inputs are standardised by the means and scales of the pages learned from."""

    mean: Floats  # (F,)
    scale: Floats
    page_mean: Floats  # (P,)
    page_scale: Floats
    rows: Floats  # (F, H)
    page: Floats  # (P, H)
    forms: Floats  # (3, tags, H)
    bias: Floats  # (H,)
    pool: Floats  # (2 H, H)
    pool_bias: Floats
    near: Floats  # (convolutions, WIDTH, H, H)
    near_bias: Floats  # (convolutions, H)
    last: Floats  # (H, H)
    last_bias: Floats
    out: Floats  # (H,)
    out_bias: Floats  # (1,)


def probabilities(network: Network, table: Table) -> Floats:
    """(B,)"""
    rows = table.rows.T - network.mean[:, None]  # features are rows in memory
    rows *= network.scale[:, None]
    hidden: Floats = np.matmul(np.clip(rows, -CLIP, CLIP, out=rows).T, network.rows)
    page = np.clip((table.page - network.page_mean) * network.page_scale, -CLIP, CLIP)
    hidden += page @ network.page + network.bias
    for embedding, form in zip(network.forms, table.forms, strict=True):
        hidden += embedding.take(form, axis=0)
    np.maximum(hidden, 0, out=hidden)
    count, units = hidden.shape
    mean = np.full(count, 1 / count, np.float32) @ hidden
    pooled = np.concatenate([mean, hidden.max(0)]) @ network.pool + network.pool_bias
    hidden += np.maximum(pooled, 0)
    around = np.zeros((count + 2 * _REACH, units), np.float32)
    near = np.empty((count, WIDTH, units), np.float32)
    for number, dilation in enumerate(DILATIONS):
        around[_REACH : _REACH + count] = hidden
        row, unit = around.strides
        first = around[_REACH - dilation * (WIDTH // 2) :]
        near[:] = as_strided(first, near.shape, (row, dilation * row, unit), writeable=False)
        seen = near.reshape(count, -1) @ network.near[number].reshape(WIDTH * units, units)
        seen += network.near_bias[number]
        hidden += np.maximum(seen, 0, out=seen)
    hidden += np.maximum(hidden @ network.last + network.last_bias, 0)
    score = hidden @ network.out + network.out_bias
    probability: Floats = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
    return probability


def save(path: Path, network: Network, hashes: Hashes, weights: Floats) -> None:
    """Half precision is enough for weights, and halves the file."""
    arrays = {name.name: getattr(network, name.name) for name in fields(Network)}
    halves = {name: array.astype(np.float16) if array.size > 1000 else array for name, array in arrays.items()}
    np.savez_compressed(path, hashes=hashes, weights=weights.astype(np.float16), **halves)


def load(path: Path) -> tuple[Network, Lexicon]:
    with np.load(path) as file:
        arrays = {name.name: file[name.name].astype(np.float32) for name in fields(Network)}
        return Network(**arrays), lexicon(file["hashes"], file["weights"].astype(np.float32))
