"""Decoded pictures in; how much each is a drawing, hentai, neutral, porn or sexy out, as a classifier sees it.

The model that comes along is the small MobileNetV2 of nsfwjs, which OBELICS used. Another ONNX file takes its place, or
an image classifier of transformers, by its folder or its name on the hub.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from pipeline.errors import UserError
from pipeline.models.checkpoints import check, load, read_config
from pipeline.pixels import Reader

MODEL = Path(__file__).parents[2] / "filters" / "data" / "nsfw_mobilenet_v2.onnx"
LABELS = ("drawings", "hentai", "neutral", "porn", "sexy")  # in nsfwjs's order
SOURCE = (
    "leave the model out for the one that comes along, or make nsfwjs's wider one: "
    "npm pack nsfwjs@4.3.0, then python -m pipeline.models.build_nsfw nsfwjs-4.3.0.tgz FILE.onnx"
)

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]


class Nsfw:
    """A classifier of pictures; `model` is an ONNX file or a transformers checkpoint, None the one that comes along.

    `labels` names an ONNX file's outputs in their order; nsfwjs's, if it has five. Raises UserError where the model is
    not there or not of its kind.
    """

    @staticmethod
    def ready(model: str | None = None, device: str = "cpu", labels: Sequence[str] | None = None) -> None:
        """Raises UserError where the model cannot be loaded. A checkpoint's weights are looked at, not loaded."""
        if _is_onnx(model):
            _Onnx(model, device, labels)
        else:
            assert model is not None
            check("nsfw.model", model, device)

    def __init__(self, model: str | None = None, device: str = "cpu", labels: Sequence[str] | None = None) -> None:
        self._classifier: _Onnx | _Checkpoint
        if _is_onnx(model):
            self._classifier = _Onnx(model, device, labels)
        else:
            assert model is not None
            self._classifier = _Checkpoint(model, device)
        # Its own answer for one picture does not depend on those beside it, but in the last bits; on a processor,
        # where many at once are no faster, each is asked alone.
        self._batch = 1 if device == "cpu" else 64

    @property
    def reader(self) -> Reader:
        """What `look` needs to make, of an image, what `score` takes.

        A JPEG is decoded to no less than twice the model's side: on 165 photographs no score then moves by more than
        0.012, where the side itself moves some by 0.14; of photographs whose side is just four times the model's, so that
        decoding halves them, some move by 0.145. It is taken as stored, unturned and opaque, as published.
        """
        return Reader("nsfw", 2 * self._classifier.side, self._classifier.prepare, shown=False)

    def score(self, pictures: Sequence[Pillow.Image | Array]) -> list[dict[str, float]]:
        """For each picture, whole in RGB or as the reader made it, "nsfw_<label>" by label: probabilities, 6 digits."""
        names = [f"nsfw_{label}" for label in self._classifier.labels]
        answers: list[dict[str, float]] = []
        for start in range(0, len(pictures), self._batch):
            batch = [
                self._classifier.prepare(picture) if isinstance(picture, Pillow.Image) else picture
                for picture in pictures[start : start + self._batch]
            ]
            for row in self._classifier.probabilities(np.stack(batch)):
                answers.append({name: round(float(p), 6) for name, p in zip(names, row, strict=True)})
        return answers


def _is_onnx(model: str | None) -> bool:
    """A folder or owner/name is a checkpoint; what else is no ONNX file is told so."""
    if model is None:
        return True
    path = Path(model)
    return path.suffix == ".onnx" or (not path.is_dir() and (path.is_file() or model.count("/") != 1))


class _Onnx:
    """RGB / 255, resized without keeping the aspect, in NHWC or NCHW as the file has it; probabilities out."""

    def __init__(self, model: str | None, device: str, labels: Sequence[str] | None) -> None:
        path = Path(model) if model is not None else MODEL
        if not path.is_file():
            raise UserError(f"nsfw.model: there is no file {path} ({SOURCE})")
        self._session = _session(path, device)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = list(inputs[0].shape)
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            taken = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise UserError(
                f"nsfw.model: {path} takes {taken}; expected one float tensor of images, [n, height, width, 3] or "
                f"[n, 3, height, width] ({SOURCE})"
            )
        self._channels_first = shape[3] != 3
        sides = shape[2:] if self._channels_first else shape[1:3]
        # A side that is not fixed is MobileNet's.
        self._height, self._width = (side if isinstance(side, int) else 224 for side in sides)
        self.side = max(self._height, self._width)
        self._input, self._output = inputs[0].name, outputs[0].name
        found = self._classes(path)
        self.labels = tuple(labels) if labels is not None else LABELS
        if len(self.labels) != found:
            raise UserError(
                f"nsfw.labels: {path} has {found} outputs, {len(self.labels)} labels are given ({', '.join(self.labels)})"
            )

    def _classes(self, path: Path) -> int:
        shape = (3, self._height, self._width) if self._channels_first else (self._height, self._width, 3)
        blank = np.zeros((1, *shape), np.float32)
        try:
            answer = self._session.run([self._output], {self._input: blank})[0]
        except Exception as error:  # of the runtime's own hierarchy, which has no public base
            raise UserError(f"nsfw.model: {path} does not run: {_first_line(error)} ({SOURCE})") from None
        if answer.ndim != 2 or len(answer) != 1:
            raise UserError(f"nsfw.model: {path} answers {list(answer.shape)} for one image, expected [1, labels]")
        return int(answer.shape[1])

    def prepare(self, picture: Pillow.Image) -> Array:
        """uint8 [height, width, 3]. Bicubic: another method moves scores by 0.03 to 0.10."""
        size = (self._width, self._height)
        rgb = picture if picture.mode == "RGB" else picture.convert("RGB")  # which would copy it
        return np.asarray(rgb.resize(size, Pillow.Resampling.BICUBIC))

    def probabilities(self, batch: Array) -> Array:
        """float32 [n, labels] for uint8 [n, height, width, 3]."""
        images = batch.astype(np.float32) / np.float32(255)
        if self._channels_first:
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        answer: Array = self._session.run([self._output], {self._input: images})[0]
        return answer


def _session(path: Path, device: str) -> Any:
    if find_spec("onnxruntime") is None:
        raise UserError("nsfw needs the package onnxruntime: pip install onnxruntime, or onnxruntime-gpu for CUDA")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Workers are processes, one a core.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Weights are spread out to floats once, on loading; or else for each picture again. With sums of 8-bit activations,
    # too, the model takes half the time, and moves scores by up to 0.29.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.log_severity_level = 4  # it would print what it raises
    providers = ["CPUExecutionProvider"]
    if device != "cpu":
        providers.insert(0, "CUDAExecutionProvider")
        if providers[0] not in onnxruntime.get_available_providers():
            raise UserError(f"nsfw.device: {device} needs the package onnxruntime-gpu and a CUDA device; or set cpu")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # of the runtime's own hierarchy, which has no public base
        raise UserError(
            f"nsfw.model: {path} is no whole ONNX model ({path.stat().st_size} bytes): {_first_line(error)} ({SOURCE})"
        ) from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


class _Checkpoint:
    """An image classifier of transformers with its own image processor."""

    def __init__(self, checkpoint: str, device: str) -> None:
        check("nsfw.model", checkpoint, device)
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        self._device = device
        self._processor = load(AutoImageProcessor, "nsfw.model", checkpoint)
        self._model = load(AutoModelForImageClassification, "nsfw.model", checkpoint).to(device).eval()
        config = read_config("nsfw.model", checkpoint)
        self.labels = tuple(config.id2label[index].lower() for index in sorted(config.id2label))
        size = self._processor.size
        self.side = max(size.get(key) or 0 for key in ("height", "width", "shortest_edge")) or 224

    def prepare(self, picture: Pillow.Image) -> Array:
        """float32 [3, height, width]."""
        pixels: Array = self._processor(images=picture.convert("RGB"), return_tensors="np")["pixel_values"][0]
        return pixels

    def probabilities(self, batch: Array) -> Array:
        """float32 [n, labels]."""
        import torch

        with torch.inference_mode():
            logits = self._model(pixel_values=torch.from_numpy(batch).to(self._device)).logits
            answer: Array = logits.float().softmax(-1).cpu().numpy()
        return answer
