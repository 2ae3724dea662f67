"""A training configuration in; its sources, tokenizer and form of images out."""

from dataclasses import dataclass
from typing import Any

from pipeline.training import tokenizer
from pipeline.training.config import TrainConfig
from pipeline.training.image_forms import ImageForm, image_form, special_tokens
from pipeline.training.sources import Opened, open_sources, texts
from pipeline.training.tokenizer import Vocabulary


@dataclass(frozen=True, slots=True)
class Language:
    """What documents are read from, and how they become ids and pictures."""

    sources: list[Opened]
    tokenizer: Any
    vocabulary: Vocabulary
    form: ImageForm


def language(config: TrainConfig) -> Language:
    """Opens the sources and the tokenizer, or learns one from them.

    Raises:
        UserError: sources that are not there or of another schema; a tokenizer that training cannot use.
    """
    sources, further = open_sources(config.data), special_tokens(config)
    if config.tokenizer.path:
        learned = tokenizer.open_tokenizer(config.tokenizer.path, further)
    else:
        size, longest = config.tokenizer.vocab_size, config.model.max_position_embeddings
        learned = tokenizer.learn(texts(sources, config.tokenizer.documents), size, longest, further)
    vocabulary = tokenizer.vocabulary(learned, further, last=config.model.family == "idefics")
    return Language(sources, learned, vocabulary, image_form(config, vocabulary))
