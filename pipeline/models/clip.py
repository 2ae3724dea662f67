"""Decoded pictures, and the texts beside them, in; how alike they are and how good to look at out, by a CLIP of yours."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from pipeline.document import END_OF_DOCUMENT, Document
from pipeline.errors import UserError
from pipeline.models.checkpoints import check, load, read_config, read_header
from pipeline.pixels import Reader

# CLIP reads 77 tokens; of a longer text, the tokenizer need not see more than its beginning.
MAX_TEXT = 2000  # characters
BATCH = 64

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]


class Clip:
    """How alike (cosine) a picture is to the texts beside it, by the CLIP `checkpoint`: a folder or owner/name."""

    @staticmethod
    def ready(checkpoint: str, device: str = "cpu") -> None:
        """Raises UserError where the checkpoint is not there, or no CLIP. Weights are looked at, not loaded."""
        _check("clip.checkpoint", checkpoint, device)

    def __init__(self, checkpoint: str, device: str = "cpu") -> None:
        self.ready(checkpoint, device)
        self._device = device
        self._model = _model(checkpoint, device)
        self._reader = _reader(checkpoint)
        self._tokenizer = _tokenizer(checkpoint)
        self._most = self._model.config.text_config.max_position_embeddings

    @property
    def reader(self) -> Reader:
        """What `look` needs to make, of an image, what `score` takes."""
        return self._reader

    def score(self, pictures: Sequence[Array], texts: Sequence[Sequence[str]]) -> list[dict[str, float]]:
        """ "clip_similarity" to the best of each picture's texts, -1 to 1; nothing for a picture without text.

        `pictures` are as the reader made them: float32 [3, height, width].
        """
        # Neighbours are shared; each text is read once.
        places = {text: place for place, text in enumerate(dict.fromkeys(text for few in texts for text in few))}
        if not places:
            return [{} for _ in pictures]
        likeness = _embed_pictures(self._model, self._device, pictures) @ self._embed_texts(list(places)).T
        return [
            {"clip_similarity": round(float(max(row[places[text]] for text in few)), 4)} if few else {}
            for row, few in zip(likeness, texts, strict=True)
        ]

    def _embed_texts(self, texts: list[str]) -> Array:
        import torch

        parts = []
        for start in range(0, len(texts), BATCH):
            # Tokenizers take no lone surrogate.
            batch = [
                text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8") for text in texts[start : start + BATCH]
            ]
            # The tokenizer alone: a processor of transformers may fetch what looks like an address.
            tokens = self._tokenizer(
                batch, padding=True, truncation=True, max_length=self._most, return_tensors="pt"
            ).to(self._device)
            with torch.inference_mode():
                parts.append(_unit(self._model.get_text_features(tokens.input_ids, tokens.attention_mask)))
        return np.concatenate(parts)


class Aesthetic:
    """How good a picture is to look at, as a linear `head` on embeddings of the CLIP `checkpoint` says.

    `head` is a file of the state of one torch.nn.Linear to one number, .safetensors or .pth: LAION publishes some
    (sa_0_4_vit_l_14_linear.pth for OpenAI's ViT-L/14; about 1 to 10).
    """

    @staticmethod
    def ready(checkpoint: str, head: str, device: str = "cpu") -> None:
        """Raises UserError where the checkpoint or the head is not there, of another kind, or not made for each other."""
        _check("aesthetic.checkpoint", checkpoint, device)
        weight, _ = _head(head)
        size = read_config("aesthetic.checkpoint", checkpoint).projection_dim
        if len(weight) != size:
            raise UserError(f"aesthetic.head: {head} is for embeddings of {len(weight)}, {checkpoint} makes {size}")

    def __init__(self, checkpoint: str, head: str, device: str = "cpu") -> None:
        self.ready(checkpoint, head, device)
        self._device = device
        self._model = _model(checkpoint, device)
        self._reader = _reader(checkpoint)
        self._weight, self._bias = _head(head)

    @property
    def reader(self) -> Reader:
        """What `look` needs to make, of an image, what `score` takes; the same as that of `Clip` on this checkpoint."""
        return self._reader

    def score(self, pictures: Sequence[Array]) -> list[dict[str, float]]:
        """ "aesthetic" for each picture, as the reader made it."""
        if not pictures:
            return []
        embeddings = _embed_pictures(self._model, self._device, pictures)
        return [{"aesthetic": round(float(score), 4)} for score in embeddings @ self._weight + self._bias]


def neighbours(document: Document, position: int) -> list[str]:
    """The texts beside the image at `position`: the nearest before and the nearest after, within the same page part.

    Images between are passed over, END_OF_DOCUMENT is not.
    """
    places = [node.position for node in document.nodes]
    here = places.index(position)
    found = []
    for side in (reversed(document.nodes[:here]), document.nodes[here + 1 :]):
        text = next((node.text for node in side if node.text is not None), END_OF_DOCUMENT)
        if text != END_OF_DOCUMENT:
            found.append(text)
    return found


def _check(key: str, checkpoint: str, device: str) -> None:
    check(key, checkpoint, device)
    kind = read_config(key, checkpoint).model_type
    if kind != "clip":
        raise UserError(f"{key}: {checkpoint} is a model of the kind {kind}, expected clip")


@cache
def _model(checkpoint: str, device: str) -> Any:
    """One a process, for `Clip` and `Aesthetic` together."""
    from transformers import CLIPModel

    return load(CLIPModel, "clip.checkpoint", checkpoint).to(device).eval()


@cache
def _tokenizer(checkpoint: str) -> Any:
    from transformers import AutoTokenizer

    return load(AutoTokenizer, "clip.checkpoint", checkpoint)


@cache
def _reader(checkpoint: str) -> Reader:
    """One a process, named after its checkpoint: where two scorers share it, a picture is made ready once."""
    from transformers import AutoImageProcessor

    processor = load(AutoImageProcessor, "clip.checkpoint", checkpoint)

    def prepare(picture: Pillow.Image) -> Array:
        # A very long picture, its smaller side brought to the model's, would be very large; the middle is cropped.
        width, height = picture.size
        most = 4 * min(width, height)
        if max(width, height) > most:
            left, top = max(width - most, 0) // 2, max(height - most, 0) // 2
            picture = picture.crop((left, top, width - left, height - top))
        pixels: Array = processor(images=picture, return_tensors="np")["pixel_values"][0]
        return pixels

    side = max(processor.size.get(key) or 0 for key in ("height", "width", "shortest_edge")) or 224
    return Reader(f"clip {checkpoint}", 2 * side, prepare)


def _embed_pictures(model: Any, device: str, pictures: Sequence[Array]) -> Array:
    """float32 [n, projection] of length 1."""
    import torch

    parts = []
    for start in range(0, len(pictures), BATCH):
        pixels = torch.from_numpy(np.stack(pictures[start : start + BATCH])).to(device)
        with torch.inference_mode():
            parts.append(_unit(model.get_image_features(pixels)))
    return np.concatenate(parts)


def _unit(features: Any) -> Array:
    # Since its version 5, transformers answers an object that holds the projection.
    features = getattr(features, "pooler_output", features).float()
    unit: Array = (features / features.norm(dim=-1, keepdim=True)).cpu().numpy()
    return unit


def _head(head: str) -> tuple[Array, float]:
    """The weight [projection] and the bias of a head."""
    path = Path(head)
    if not path.is_file():
        raise UserError(f"aesthetic.head: there is no file {head} (expected .safetensors or .pth of one linear layer)")
    state: Mapping[str, Any]
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        read_header("aesthetic.head", path)
        state = load_file(head)
    else:
        import torch

        try:
            state = torch.load(head, map_location="cpu", weights_only=True)
        except Exception as error:  # of pickle, of zipfile or torch's own
            said = next(iter(str(error).splitlines()), "")[:200]
            raise UserError(f"aesthetic.head: {head} is no whole file of weights: {said}") from None
    try:
        weight = np.asarray(state["weight"], np.float32)
        bias = np.asarray(state["bias"], np.float32)
        if weight.ndim != 2 or len(weight) != 1 or bias.shape != (1,):
            raise ValueError(f"weight {list(weight.shape)}, bias {list(bias.shape)}")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(
            f"aesthetic.head: {head} is no linear layer to one number (weight [1, n], bias [1]): {error}"
        ) from None
    return weight[0], float(bias[0])
