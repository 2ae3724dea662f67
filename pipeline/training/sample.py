"""A model and a document of the data in; what the model writes after the document's first image out."""

from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from pipeline.training import data
from pipeline.training.batch import image_attention_mask
from pipeline.training.config import TrainConfig
from pipeline.training.export import generation_config
from pipeline.training.image_forms import ImageForm, Pictures
from pipeline.training.packing import image_index, split
from pipeline.training.sources import Opened, in_order
from pipeline.training.tokenizer import Vocabulary


@dataclass(frozen=True, slots=True)
class Generated:
    key: str  # of the document
    prompt: str
    text: str


def sample(
    model: Any, tokenizer: Any, vocabulary: Vocabulary, form: ImageForm, sources: list[Opened], config: TrainConfig
) -> Generated | None:
    """Generates greedily from the beginning of the first document with an image; None where no document has one."""
    found = _beginning(sources, form, config)
    if found is None:
        return None
    key, before, image = found
    text = vocabulary.encode(before)[-config.sample.prompt_tokens :] if config.sample.prompt_tokens else []
    ids = torch.tensor([[vocabulary.bos, *text, vocabulary.fake, vocabulary.image, vocabulary.fake]])
    numbers = ids.numpy()
    seen = torch.from_numpy(image_index(numbers, numbers * 0, vocabulary.image))
    model.eval()
    with torch.no_grad():
        answer = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=model.normalised(torch.from_numpy(image.pixels.copy()))[None],
            image_attention_mask=image_attention_mask(seen, 1),
            generation_config=generation_config(vocabulary, max_new_tokens=config.sample.new_tokens),
        )
    model.train()
    return Generated(
        key, tokenizer.decode(ids[0]), tokenizer.decode(answer[0, ids.shape[1] :], skip_special_tokens=True)
    )


def _beginning(sources: list[Opened], form: ImageForm, config: TrainConfig) -> tuple[str, str, Pictures] | None:
    for raw in chain.from_iterable(in_order(source) for source in sources):
        document = data.document(raw, form, config.data)
        for pieces in split(document.pieces):
            for place, piece in enumerate(pieces):
                if isinstance(piece, Pictures):
                    texts = [text for text in pieces[:place] if isinstance(text, str)]
                    return document.key, "\n\n".join(texts), piece
    return None
