"""Texts in; a byte-level BPE with IDEFICS's special tokens out, and text as ids that hold none of these."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pipeline.document import END_OF_DOCUMENT

# Ids 0, 1, 2 as in Llama's vocabulary, which IDEFICS keeps; `<unk>` is its padding, too.
UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
FAKE, IMAGE = "<fake_token_around_image>", "<image>"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What packing needs of a tokenizer. `fake` and `image` are the additional tokens, ids `size` and `size + 1`."""

    encode: Callable[[str], list[int]]  # never a special token, whatever the text says
    size: int  # without the additional tokens
    pad: int
    bos: int
    eos: int
    fake: int
    image: int


def learn(texts: Iterable[str], vocab_size: int, model_max_length: int) -> Any:
    """A tokenizer (`PreTrainedTokenizerFast`) of at most `vocab_size` tokens plus the two around images.

    Every text has an encoding: the 256 bytes are part of the vocabulary. The same texts give the same tokenizer.
    """
    bpe = tokenizers.Tokenizer(models.BPE(unk_token=UNKNOWN))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[UNKNOWN, BEGIN, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator((text.replace(END_OF_DOCUMENT, "\n\n") for text in texts), trainer)
    bpe.add_special_tokens([tokenizers.AddedToken(token, normalized=False, special=True) for token in (FAKE, IMAGE)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=UNKNOWN,
        extra_special_tokens=[FAKE, IMAGE],
        padding_side="left",  # what `generate` wants
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
    )


def vocabulary(tokenizer: Any) -> Vocabulary:
    """The ids and the encoding of a tokenizer whose last two tokens are those around images."""

    def encode(text: str) -> list[int]:
        # `<image>` in a page is text like any other. (IdeficsProcessor would even fetch a text that is an address.)
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        return [int(i) for i in ids]

    fake, image = tokenizer.convert_tokens_to_ids([FAKE, IMAGE])
    size = len(tokenizer) - 2
    if (fake, image) != (size, size + 1):
        raise ValueError(f"{FAKE} and {IMAGE} must be the last tokens, {size} and {size + 1}; found {fake} and {image}")
    return Vocabulary(encode, size, tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, fake, image)
