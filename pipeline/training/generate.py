"""An exported folder, texts and images in; what the model writes after them out.

The folder is of IDEFICS, Idefics2 or Idefics3, ours or anybody's. Its processor makes pixels of images that are already
decoded; texts never pass through it, as it would fetch one that is an address and take one that says `<image>` for an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from transformers import AutoConfig, AutoProcessor, GenerationConfig

from pipeline.errors import UserError
from pipeline.pixels import Broken, Reader, look
from pipeline.training.data import first_line
from pipeline.training.export import CLASSES, no_progress_bar
from pipeline.training.tokenizer import END_OF_UTTERANCE, FAKE, IMAGE, Encode, within

MAX_BYTES = 20 * 10**6  # of an image file, as the pipeline's `images.max_bytes`
MAX_PIXELS = 100_000_000  # as `images.max_pixels`
SECONDS = 10.0  # for an image, as `images.seconds`


@dataclass(frozen=True, slots=True)
class Token:
    """A special token by its name, which no text can spell."""

    name: str


Piece = str | PIL.Image.Image | Token


@dataclass(frozen=True, slots=True)
class Exported:
    model: Any
    processor: Any
    kind: str  # a key of CLASSES

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer


@dataclass(frozen=True, slots=True)
class Picture:
    """What an image becomes: ids between the texts' ids, and pixels as its processor makes them."""

    ids: list[int]
    pixels: Any  # fp32 [tiles, 3, H, W]
    seen: Any  # bool [tiles, H, W]: what is no padding


def load(folder: Path, device: str = "cpu") -> Exported:
    """The model of a folder, in the precision in which it was written.

    Raises:
        UserError: no such folder, a model of another family, or files that cannot be read.
    """
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json in it; name the folder of an exported model")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"the device {device} is not there; choose cpu")
    try:
        kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        if kind not in CLASSES:
            raise UserError(f"{folder}: a model of type {kind}; expected one of {', '.join(CLASSES)}")
        with no_progress_bar():
            model = CLASSES[kind].from_pretrained(folder, dtype="auto", local_files_only=True)
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"{folder}: cannot be loaded: {first_line(error)}") from None
    missing = [name for name in (FAKE, IMAGE) if _id(processor.tokenizer, name) is None]
    if missing:
        raise UserError(f"{folder}: its tokenizer has no {' and no '.join(missing)}")
    return Exported(model.to(device).eval(), processor, kind)


def open_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> PIL.Image.Image:
    """The picture of an image's bytes, within the bounds that the pipeline decodes in; `name` says what they are of.

    Raises:
        UserError: no image, a damaged one, or one beyond the bounds.
    """
    reader = Reader("picture", None, lambda picture: picture)
    seen = look(data, max_bytes=MAX_BYTES, max_pixels=max_pixels, seconds=SECONDS, readers=[reader])
    if isinstance(seen, Broken):
        raise UserError(f"{name}: no image that can be shown: {seen.reason} ({seen.detail})")
    picture: PIL.Image.Image = seen.read["picture"]
    return picture


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> PIL.Image.Image:
    """The same of a file, of which no more is read than may be; raises UserError where it cannot be read, too."""
    try:
        with path.open("rb") as file:
            return open_image(file.read(MAX_BYTES + 1), str(path), max_pixels)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def instruction(text: str, image: PIL.Image.Image | None) -> list[Piece]:
    """A question as the instruct models were taught: `User:` image, text, `<end_of_utterance>`, `Assistant:`."""
    said: list[Piece] = ["User:", image, text] if image else [f"User: {text}"]
    return [*said, Token(END_OF_UTTERANCE), "\nAssistant:"]


def complete(
    exported: Exported,
    prompts: Sequence[Sequence[Piece]],
    *,
    new_tokens: int,
    beams: int = 1,
    batch_size: int = 1,
    banned: Sequence[str] = (),
) -> list[str]:
    """What the model writes after each prompt, without special tokens; greedily, or the best of `beams`.

    Nothing is drawn by chance, so that the same prompts have the same answers. An answer ends at the end of a document or
    of an utterance and holds no image, and none of the texts `banned`.

    Raises:
        UserError: a special token that the tokenizer does not have.
    """
    tokenizer = exported.tokenizer
    ends = [tokenizer.eos_token_id, _id(tokenizer, END_OF_UTTERANCE)]
    never = [within(Encode(tokenizer), text) for text in banned]
    settings = GenerationConfig(
        max_new_tokens=new_tokens,
        num_beams=beams,
        do_sample=False,
        early_stopping=beams > 1,
        pad_token_id=_padding(tokenizer),
        eos_token_id=[i for i in ends if i is not None],
        bad_words_ids=[[_id(tokenizer, FAKE)], [_id(tokenizer, IMAGE)], *filter(None, never)],
    )
    answers: list[str] = []
    for start in range(0, len(prompts), batch_size):
        inputs = batch(exported, prompts[start : start + batch_size])
        with torch.no_grad():
            written = exported.model.generate(**inputs, generation_config=settings)
        answers += tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers


def batch(exported: Exported, prompts: Sequence[Sequence[Piece]]) -> dict[str, Any]:
    """What `generate` takes: ids padded on the left, pixels padded to the most images of a prompt.

    As the stock processors make them of the same texts and images, but that texts are never special tokens.
    """
    rows = [_encode(exported, pieces) for pieces in prompts]
    length = max(len(ids) for ids, _ in rows)
    pad = _padding(exported.tokenizer)
    left = [length - len(ids) for ids, _ in rows]
    input_ids = torch.tensor([[pad] * n + ids for n, (ids, _) in zip(left, rows, strict=True)])
    attention = torch.tensor([[0] * n + [1] * len(ids) for n, (ids, _) in zip(left, rows, strict=True)])
    inputs = {"input_ids": input_ids, "attention_mask": attention}
    pixels, seen = _stacked([pictures for _, pictures in rows], exported)
    if exported.kind == "idefics":
        # A token attends the latest image; the model wants pixels and a mask where there is no image, too.
        latest = (input_ids == _id(exported.tokenizer, IMAGE)).cumsum(-1)[..., None] - 1
        inputs |= {"pixel_values": pixels, "image_attention_mask": (latest == torch.arange(pixels.shape[1])).long()}
    elif seen.any():
        inputs |= {"pixel_values": pixels, "pixel_attention_mask": seen.long()}
    dtype = exported.model.dtype
    if "pixel_values" in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
    return {name: value.to(exported.model.device) for name, value in inputs.items()}


def _stacked(rows: list[list[Picture]], exported: Exported) -> tuple[Any, Any]:
    """Pixels [B, N, 3, H, W] and what of them is no padding [B, N, H, W]; N is 1 where there is no image."""
    tiles = [[(p, s) for picture in row for p, s in zip(picture.pixels, picture.seen, strict=True)] for row in rows]
    shapes = [pixels.shape for row in tiles for pixels, _ in row]
    side = getattr(exported.model.config.vision_config, "image_size", 1)
    height, width = max((s[1] for s in shapes), default=side), max((s[2] for s in shapes), default=side)
    count = max(1, *(len(row) for row in tiles))
    pixels = torch.zeros(len(rows), count, 3, height, width)
    seen = torch.zeros(len(rows), count, height, width, dtype=torch.bool)
    for i, row in enumerate(tiles):
        for j, (tile, mask) in enumerate(row):
            pixels[i, j, :, : tile.shape[1], : tile.shape[2]] = tile
            seen[i, j, : tile.shape[1], : tile.shape[2]] = mask
    return pixels, seen


def _encode(exported: Exported, pieces: Sequence[Piece]) -> tuple[list[int], list[Picture]]:
    tokenizer = exported.tokenizer
    fake, encode = _id(tokenizer, FAKE), Encode(tokenizer)
    spoken = any(isinstance(piece, Token) for piece in pieces)  # as training writes dialogues: one text, to the letter
    ids: list[int] = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    pictures: list[Picture] = []
    for piece in pieces:
        if isinstance(piece, str):
            ids += within(encode, piece) if spoken else encode(piece)
        elif isinstance(piece, Token):
            token = _id(tokenizer, piece.name)
            if token is None:
                raise UserError(f"the tokenizer has no {piece.name}: the model was not taught instructions")
            ids.append(token)
        else:
            picture = _picture(exported, piece)
            shared = exported.kind != "idefics3" and ids[-1:] == [fake]  # neighbours share the token between them
            ids += picture.ids[shared:]
            pictures.append(picture)
    return ids, pictures


def _picture(exported: Exported, image: PIL.Image.Image) -> Picture:
    """An image as the folder's own processor splits, sizes and spells it."""
    processor = exported.processor
    if exported.kind == "idefics":
        pixels = processor.image_processor([image], return_tensors="pt")
        pixels = getattr(pixels, "pixel_values", pixels)
        return Picture(_spelled(exported, FAKE + IMAGE + FAKE), pixels, torch.ones(pixels[:, 0].shape).bool())
    asked = {"return_row_col_info": True} if exported.kind == "idefics3" else {}
    made = processor.image_processor([[image]], return_tensors="pt", **asked)
    pixels, seen = made["pixel_values"][0], made["pixel_attention_mask"][0].bool()
    if exported.kind == "idefics3":
        said = processor.replace_image_token({"rows": made["rows"], "cols": made["cols"]}, 0)
    else:
        one = FAKE + IMAGE * processor.image_seq_len
        said = one * len(pixels) + FAKE
    return Picture(_spelled(exported, said), pixels, seen)


def _spelled(exported: Exported, said: str) -> list[int]:
    """The ids of our own spelling of an image, in which special tokens count."""
    return [int(i) for i in exported.tokenizer(said, add_special_tokens=False)["input_ids"]]


def _id(tokenizer: Any, name: str) -> int | None:
    found = tokenizer.convert_tokens_to_ids(name)
    return None if found is None or (found == tokenizer.unk_token_id and name != tokenizer.unk_token) else int(found)


def _padding(tokenizer: Any) -> int:
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
