"""Opened sources in; one lane's micro-batches out, packed among a window of documents, and where the lane stands.

A lane's state is where its sources stood when the pack at hand began, and how many of its sequences were given: who goes
on reads that pack anew and skips these.
"""

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from pipeline.training import data
from pipeline.training.batch import Batch, filled
from pipeline.training.config import TrainConfig
from pipeline.training.language import Language
from pipeline.training.mixture import DRY_DOCUMENTS, DRY_EPOCHS, Walk, goto, next_source, state_of
from pipeline.training.packing import Sequence, Window, assemble, pack, windows


@dataclass(frozen=True, slots=True)
class Feed:
    """What every lane needs; goes to the workers as it is."""

    config: TrainConfig
    language: Language
    leave_out: frozenset[str] = frozenset()  # keys of documents


@dataclass(slots=True)
class Lane:
    """One stream of sequences, packed among `packing.window` documents at a time."""

    number: int
    feed: Feed
    shelf: "WeakValueDictionary[tuple[str, int], data.Unit]" = field(default_factory=WeakValueDictionary)
    state: dict[str, Any] | None = None  # to begin with
    notes: list[str] = field(default_factory=list)
    ended: bool = False
    _walks: list[Walk] = field(default_factory=list)
    _stream: Iterator[Sequence] | None = None
    _counts: dict[str, dict[str, int]] = field(default_factory=dict)  # with the pack at hand, without the next

    def __post_init__(self) -> None:
        config = self.feed.config
        self._walks = [
            Walk(source, opened, config.seed, self.number, config.data.lanes, self.shelf)
            for source, opened in zip(config.data.listed, self.feed.language.sources, strict=True)
        ]
        if self.state is None:
            self.state = {"pack": 0, "given": 0, "sources": state_of(self._walks)}
        goto(self._walks, self.state["sources"])
        self._counts = self.state["sources"]

    def batch(self, size: int) -> Batch:
        """The next `size` sequences; when the sources have ended, what is left, and padding.

        Raises:
            UserError: a source cannot be read, or has nothing to learn.
        """
        if self._stream is None:
            self._stream = self._sequences()
        drawn = [sequence for _, sequence in zip(range(size), self._stream, strict=False)]
        batch = filled(drawn, size, self.feed.config, self.feed.language)
        batch.epoch = max(share["epoch"] for share in self._counts.values())
        counts = {name: dict(share) for name, share in self._counts.items()}
        batch.state = {**copy.deepcopy(self.state or {}), "lane": self.number, "ended": self.ended, "counts": counts}
        batch.notes, self.notes = self.notes, []
        return batch

    def _sequences(self) -> Iterator[Sequence]:
        config, vocabulary = self.feed.config, self.feed.language.vocabulary
        tokens, images = config.packing.tokens, config.packing.images
        assert self.state is not None
        drawn = list(itertools.chain.from_iterable(self._pack()))
        while drawn:
            number, given = self.state["pack"], self.state["given"]
            packed = pack(drawn, tokens, images)
            after = {"pack": number + 1, "given": 0, "sources": state_of(self._walks)}
            self._counts = after["sources"]
            following, share = self._pack(), -(-config.packing.window // len(packed))
            drawn = []
            # Packing sorts by length; without a shuffle the longest would always come first.
            order = np.random.default_rng((config.seed, self.number, number)).permutation(len(packed))
            for count, place in enumerate(order, 1):
                # The next pack is drawn beside this one, so that no batch has to wait for all of its images at once.
                drawn += itertools.chain.from_iterable(itertools.islice(following, share))
                if count <= given:
                    continue
                self.state = after if count == len(packed) else {**self.state, "given": count}
                kept = [window for window in packed[place] if window.key not in self.feed.leave_out]
                yield assemble(kept, vocabulary, tokens)
            drawn += itertools.chain.from_iterable(following)
        self._counts, self.ended = state_of(self._walks), True

    def _pack(self) -> Iterator[list[Window]]:
        """The windows of each of the next documents, until there are enough to put together."""
        config, held = self.feed.config, 0
        weights = [walk.source.weight for walk in self._walks]
        for _ in range(config.packing.window):
            found: list[Window] = []
            while not found:
                ended = [walk.ended for walk in self._walks]
                chosen = next_source([walk.share.tokens for walk in self._walks], weights, ended)
                if chosen is None:
                    return
                found = self._draw(chosen)
            yield found
            held += sum(image.pixels.nbytes for window in found for image in window.images)
            if held > config.packing.held:
                return

    def _draw(self, chosen: int) -> list[Window]:
        """The windows of a source's next document that has any; none where the source ends before."""
        walk = self._walks[chosen]
        dry, epochs = 0, 0
        while not walk.ended:
            raw = walk.next()
            self.notes += walk.notes
            walk.notes.clear()
            if raw is None:
                epochs += 1
                if epochs > (1 if dry >= DRY_DOCUMENTS else DRY_EPOCHS):
                    raise walk.dry(dry)
                continue
            found = self._windows(raw, chosen)
            if found:
                return found
            walk.share.textless += 1
            dry += 1
        return []

    def _windows(self, raw: data.Raw, chosen: int) -> list[Window]:
        config, language, share = self.feed.config, self.feed.language, self._walks[chosen].share
        document = data.document(raw, language.form, config.data)
        cut = windows(
            document,
            language.vocabulary,
            language.form,
            config.packing.tokens,
            config.packing.images,
            fake_label=config.loss.fake_token,
            source=chosen,
        )
        found = list(cut)
        share.documents += 1
        share.images += document.images
        share.broken_images += document.broken_images
        share.missing_images += document.missing_images
        share.tokens += sum(len(window.ids) for window in found)
        return found
