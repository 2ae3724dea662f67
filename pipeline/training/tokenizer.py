"""Texts or a folder in; a tokenizer with the special tokens of training out, and text as ids that hold none of these."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pipeline.document import END_OF_DOCUMENT
from pipeline.errors import UserError

# Ids 0, 1, 2 as in Llama's vocabulary, which IDEFICS keeps; `<unk>` is its padding, too.
UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
FAKE, IMAGE = "<fake_token_around_image>", "<image>"
END_OF_UTTERANCE = "<end_of_utterance>"  # of a turn in a dialogue; the three families' own
GLOBAL = "<global-img>"  # Idefics3's, before a whole image


def tile_token(row: int, column: int) -> str:
    """Idefics3's token before a tile; both are counted from 0."""
    return f"<row_{row + 1}_col_{column + 1}>"


@dataclass(frozen=True, slots=True)
class Encode:
    """A text as ids that hold no special token, whatever it says; can be sent to other processes."""

    tokenizer: Any

    def __call__(self, text: str) -> list[int]:
        # `<image>` in a page is text like any other. (IdeficsProcessor would even fetch a text that is an address.)
        made = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
        ids: list[int] = made["input_ids"]
        return ids


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What packing needs of a tokenizer. Where the additional tokens are its last, as IDEFICS wants it, `fake` is `size`
    and `image` follows it."""

    encode: Callable[[str], list[int]]  # never a special token, whatever the text says
    size: int  # without the additional tokens
    pad: int
    bos: int
    eos: int
    fake: int
    image: int
    named: dict[str, int] = field(default_factory=dict)  # further special tokens, by their text
    total: int = 0  # with the additional tokens; 0: those around images alone are

    def __len__(self) -> int:
        return self.total or self.size + 2

    def token(self, text: str) -> int:
        """A further special token's id.

        Raises:
            UserError: the tokenizer has no such token.
        """
        if text not in self.named:
            raise UserError(f"the tokenizer has no token {text}, which this training needs")
        return self.named[text]

    def within(self, text: str) -> list[int]:
        """The ids of a text that something stands before."""
        return within(self.encode, text)


def within(encode: Callable[[str], list[int]], text: str) -> list[int]:
    """The ids of a text that something stands before: some tokenizers begin every text with a blank."""
    before, both = encode("."), encode(f".{text}")
    return both[len(before) :] if both[: len(before)] == before else encode(text)


def learn(texts: Iterable[str], vocab_size: int, model_max_length: int, further: Sequence[str] = ()) -> Any:
    """A tokenizer (`PreTrainedTokenizerFast`) of at most `vocab_size` tokens plus the two around images and `further`.

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
    additional = [FAKE, IMAGE, *further]
    bpe.add_special_tokens([tokenizers.AddedToken(token, normalized=False, special=True) for token in additional])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=UNKNOWN,
        extra_special_tokens=additional,
        padding_side="left",  # what `generate` wants
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
    )


def open_tokenizer(path: str, further: Sequence[str] = ()) -> Any:
    """A tokenizer of the user's, a folder or a name on the hub; tokens that it lacks are added at its end.

    Raises:
        UserError: it cannot be had, or has no token for the beginning or the end of a text.
    """
    try:
        words = AutoTokenizer.from_pretrained(path)
    except Exception as error:  # transformers raises nearly anything on a folder that holds no tokenizer
        said = (str(error).splitlines() or [type(error).__name__])[0]
        where = "this folder" if Path(path).is_dir() else "no folder, and as a name on the hub it"
        raise UserError(f"tokenizer.path {path}: {where} gives no tokenizer: {said}") from None
    for name in ("bos", "eos"):
        if getattr(words, f"{name}_token_id") is None:
            raise UserError(f"tokenizer.path {path}: it has no {name} token, with which every document stands apart")
    if words.pad_token_id is None:
        words.pad_token = words.unk_token or words.eos_token  # padding is masked: any id does
    additional = [tokenizers.AddedToken(token, normalized=False, special=True) for token in (FAKE, IMAGE, *further)]
    words.add_tokens(additional, special_tokens=True)
    words.padding_side = "left"
    return words


def vocabulary(tokenizer: Any, further: Sequence[str] = (), *, last: bool = True) -> Vocabulary:
    """The ids and the encoding of a tokenizer.

    Raises:
        UserError: a text that spells a special token would become that token; or, where they must be the `last` as
            IDEFICS's embeddings want it, the additional tokens stand elsewhere.
    """
    additional = [FAKE, IMAGE, *further]
    unknown = [token for token in additional if token not in tokenizer.get_vocab()]
    if unknown:
        raise UserError(f"the tokenizer has no token {', '.join(unknown)}, which this training needs")
    ids = [int(i) for i in tokenizer.convert_tokens_to_ids(additional)]
    size = len(tokenizer) - len(additional)
    if last and ids != list(range(size, size + len(additional))):
        found = ", ".join(f"{token} {i}" for token, i in zip(additional, ids, strict=True))
        raise UserError(f"the tokenizer's last tokens must be {' '.join(additional)}, from {size} on; found {found}")
    encode = Encode(tokenizer)
    named = dict(zip(additional, ids, strict=True))
    special = {*ids, tokenizer.bos_token_id, tokenizer.eos_token_id}
    spelled = encode(f"a {' '.join(additional)} {tokenizer.bos_token} b{tokenizer.eos_token}")
    if taken := special.intersection(spelled):
        tokens = ", ".join(sorted(tokenizer.convert_ids_to_tokens(sorted(taken))))
        raise UserError(
            f"the tokenizer takes a text that spells {tokens} for the token itself; web text must not say that"
        )
    return Vocabulary(
        encode,
        size if last else len(tokenizer),
        tokenizer.pad_token_id,
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        named.pop(FAKE),
        named.pop(IMAGE),
        named,
        len(tokenizer),
    )
