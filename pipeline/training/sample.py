"""A model and a document of the data in; what the model writes after the document's first image out."""

from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from pipeline.training import data
from pipeline.training.config import TrainConfig
from pipeline.training.export import generation_config
from pipeline.training.image_forms import ImageForm, Pictures
from pipeline.training.language import Language
from pipeline.training.packing import split
from pipeline.training.sources import Opened, in_order


@dataclass(frozen=True, slots=True)
class Generated:
    key: str  # of the document
    prompt: str
    text: str


def sample(model: Any, language: Language, config: TrainConfig) -> Generated | None:
    """Generates greedily from the beginning of the first document with an image; None where no document has one."""
    vocabulary, form = language.vocabulary, language.form
    found = _beginning(language.sources, form, config)
    if found is None:
        return None
    key, before, image = found
    text = vocabulary.encode(before)[-config.sample.prompt_tokens :] if config.sample.prompt_tokens else []
    numbers = [[vocabulary.bos, *text, vocabulary.fake, *form.ids(image), vocabulary.fake]]
    ids = torch.tensor(numbers, device=model.device)
    pixels, extent = (torch.from_numpy(values.copy()).to(model.device) for values in (image.pixels, image.extent))
    model.eval()
    with torch.no_grad(), model.computing(model.device):
        answer = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **model.shown(ids, pixels, extent),
            generation_config=generation_config(vocabulary, max_new_tokens=config.sample.new_tokens),
        )
    model.train()
    return Generated(
        key,
        language.tokenizer.decode(ids[0]),
        language.tokenizer.decode(answer[0, ids.shape[1] :], skip_special_tokens=True),
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
