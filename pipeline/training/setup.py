"""A training configuration in; its sources, tokenizer and form of images, and its model as it is trained, out."""

from dataclasses import dataclass
from typing import Any

from pipeline.training import tokenizer
from pipeline.training.checkpoint import checksum, fingerprint, frozen_state
from pipeline.training.config import TrainConfig
from pipeline.training.flops import Work, work
from pipeline.training.image_forms import ImageForm, image_form, special_tokens
from pipeline.training.memory import require
from pipeline.training.model import blocks, skeleton
from pipeline.training.optimizer import adamw
from pipeline.training.parallel import Ranks, replicate, shard, to_shard
from pipeline.training.recompute import prepare_blocks
from pipeline.training.sources import Opened, open_sources, texts
from pipeline.training.tokenizer import Vocabulary
from pipeline.training.weights import fill


@dataclass(frozen=True, slots=True)
class Language:
    """What documents are read from, and how they become ids and pictures."""

    sources: list[Opened]
    words: Any  # the tokenizer
    vocabulary: Vocabulary
    form: ImageForm


@dataclass(slots=True)
class Built:
    model: Any
    module: Any  # what is called in its place
    optimizer: Any
    sharded: bool
    work: Work  # operations
    fingerprint: str  # of the model and the vocabulary
    frozen: str  # checksum of what is not trained


def language(config: TrainConfig) -> Language:
    """Opens the sources and the tokenizer, or learns one from them.

    Raises:
        UserError: sources that are not there or of another schema; a tokenizer that training cannot use.
    """
    sources, further = open_sources(config.data), special_tokens(config)
    if config.tokenizer.path:
        words = tokenizer.open_tokenizer(config.tokenizer.path, further)
    else:
        size, longest = config.tokenizer.vocab_size, config.model.max_position_embeddings
        words = tokenizer.learn(texts(sources, config.tokenizer.documents), size, longest, further)
    vocabulary = tokenizer.vocabulary(words, further, last=config.model.family == "idefics")
    return Language(sources, words, vocabulary, image_form(config, vocabulary))


def build(config: TrainConfig, language: Language, ranks: Ranks) -> Built:
    """The model with its first weights, whole or in pieces, on this rank's device, and its optimizer.

    Raises:
        UserError: a model that does not fit the device; weights that cannot be read or are of other sizes.
    """
    model = skeleton(config, language.vocabulary)
    known = fingerprint(model, language.words.get_vocab())
    amount = work(model, config.packing.tokens, config.parallel.recompute)
    sharded = to_shard(model, config.parallel, ranks)
    require(model, config, ranks.device, ranks.world if sharded else 1)
    prepare_blocks(model, config.parallel)
    if sharded:
        shard(model, blocks(model), ranks)
    model.to_empty(device=ranks.device)
    fill(model, config.model, config.seed)
    module = model if sharded else replicate(model, ranks)
    frozen = checksum(frozen_state(model), ranks)
    return Built(model, module, adamw(model, config.optimizer), sharded, amount, known, frozen)
