"""A training configuration and its language in; its model as it is trained out, with weights and optimizer."""

from dataclasses import dataclass
from typing import Any

from pipeline.training.checkpoint import Mark, checksum, fingerprint, frozen_state
from pipeline.training.config import TrainConfig
from pipeline.training.flops import Work, work
from pipeline.training.language import Language
from pipeline.training.memory import require
from pipeline.training.model import skeleton
from pipeline.training.optimizer import adamw
from pipeline.training.parallel import Ranks, replicate, shard, to_shard
from pipeline.training.recompute import prepare_blocks
from pipeline.training.weights import fill


@dataclass(slots=True)
class Built:
    model: Any
    module: Any  # what is called in its place
    optimizer: Any
    sharded: bool
    work: Work  # operations
    fingerprint: str  # of the model and the vocabulary
    frozen: str  # checksum of what is not trained

    def misfit(self, mark: Mark, micro_batch: int | None) -> str | None:
        """Why a checkpoint is not one of this model and of batches of this size."""
        if mark.model != self.fingerprint:
            return "it is of another model or vocabulary"
        if mark.trained_only and mark.frozen != self.frozen:
            return "it was trained beside other frozen weights"
        if mark.micro_batch != micro_batch:
            return f"its micro_batch is {mark.micro_batch}, here {micro_batch}"
        return None


def build(config: TrainConfig, language: Language, ranks: Ranks) -> Built:
    """The model with its first weights, whole or in pieces, on this rank's device, and its optimizer.

    Raises:
        UserError: a model that does not fit the device; weights that cannot be read or are of other sizes.
    """
    model = skeleton(config, language.vocabulary)
    known = fingerprint(model, language.tokenizer.get_vocab())
    amount = work(model, config.packing.tokens, config.parallel.recompute)
    sharded = to_shard(model, config.parallel, ranks)
    require(model, config, ranks.device, ranks.world if sharded else 1)
    prepare_blocks(model, config.parallel)
    fill_in(model, config, ranks, sharded)
    module = model if sharded else replicate(model, ranks)
    frozen = checksum(frozen_state(model), ranks)
    return Built(model, module, adamw(model, config.optimizer), sharded, amount, known, frozen)


def fill_in(model: Any, config: TrainConfig, ranks: Ranks, sharded: bool) -> None:
    """Gives a skeleton its first weights, whole or in pieces, on this rank's device.

    Raises:
        UserError: weights that cannot be read or are of other sizes.
    """
    if sharded:
        shard(model, model.units(), ranks)
    model.to_empty(device=ranks.device)
    fill(model, config.model, config.seed)
