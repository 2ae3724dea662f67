"""A model without values in; the bytes that training it takes on a device out, before any of them is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.errors import UserError
from pipeline.training.batch import Batch
from pipeline.training.config import TrainConfig
from pipeline.training.recompute import KEPT

FP32 = 4  # bytes
# What the allocator, the device's libraries and the optimizer's passing tensors take on top.
REST = 0.05

# Bytes of a GPU, of the makers' data sheets. The first name found in a device's counts.
DEVICES = {
    "GB200": 186e9,
    "B200": 180e9,
    "H200": 141e9,
    "H100 NVL": 94e9,
    "H100": 80e9,
    "H800": 80e9,
    "A100-SXM4-40GB": 40e9,
    "A100": 80e9,
    "A800": 80e9,
    "A40": 48e9,
    "L40S": 48e9,
    "A10": 24e9,
    "L4": 24e9,
    "RTX 4090": 24e9,
    "RTX 3090": 24e9,
    "MI300X": 192e9,
    "MI250X": 64e9,
}


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device."""

    weights: int
    gradients: int
    moments: int  # AdamW's two
    activations: int  # kept for the backward pass, of one micro-batch
    passing: int  # logits of a chunk, and what a block makes while it is called

    @property
    def total(self) -> int:
        held = self.weights + self.gradients + self.moments + self.activations + self.passing
        return int(held * (1 + REST))

    def __str__(self) -> str:
        named = ("weights", "gradients", "moments", "activations", "passing")
        return ", ".join(f"{name} {size(getattr(self, name))}" for name in named)


def memory(model: Any, config: TrainConfig, devices: int = 1) -> Memory:
    """Of the model's skeleton and one micro-batch with as many images as `packing.images` lets in.

    Over several `devices` the model is in pieces (FSDP2): each holds its share, and two blocks' weights at a time.
    """
    weights = sum(parameter.nbytes for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    kept, most = activations(model, config)
    chunk = min(config.loss.chunk, _sequences(config, devices) * config.packing.tokens)
    vocabulary = sum(len(weight) for weight in model.head())
    passing = most + 3 * chunk * vocabulary * FP32  # logits, their softmax, their gradient
    if devices > 1:
        passing += 2 * max(sum(parameter.nbytes for parameter in unit.parameters()) for unit in model.units())
    share = [-(-amount // devices) for amount in (weights, FP32 * trained, 2 * FP32 * trained)]
    return Memory(share[0], share[1], share[2], kept, passing)


def activations(model: Any, config: TrainConfig) -> tuple[int, int]:
    """Bytes that one micro-batch keeps for the backward pass, and the most that a block has while it is computed.

    The training pass is gone through on the device meta, where tensors have sizes and no values, and what autograd
    saves is added up. SDPA is taken to keep its inputs and its output, as its fused kernels do.
    """
    batch, saved = meta_batch(model, config), _Saved()
    recompute = config.parallel.recompute
    hooks = torch.autograd.graph.saved_tensors_hooks(saved.keep, saved.give)
    with _one_precision(model), _watching(model, saved), hooks, _Fused():
        made = model.hidden_states(batch)
    saved.keep(made)
    by_unit = [sum(storages.values()) for storages in saved.units]
    # Trained weights are cast where they are used, and the backward pass asks for what was used.
    cast = sum(p.numel() * made.itemsize for p in model.parameters() if p.requires_grad and p.dtype != made.dtype)
    outside = sum(saved.outside.values()) + (cast if recompute == "none" else 0)
    if recompute == "none":
        return outside + sum(by_unit), max(by_unit, default=0)
    kept = sum(saved.inputs) + (sum(saved.expensive) if recompute == "selective" else 0)
    return outside + kept, 2 * max(by_unit, default=0)


def require(model: Any, config: TrainConfig, device: Any, devices: int) -> None:
    """Says in time that a training will not fit.

    Raises:
        UserError: it takes more than is free on the device, with what takes how much and what may help.
    """
    needed, free = memory(model, config, devices), available(device)
    if free is None or needed.total <= free:
        return
    enough = next(
        (n for n in (2, 4, 8, 16, 32, 64, 128) if n > devices and memory(model, config, n).total <= free), None
    )
    helps = [
        *(["a smaller micro_batch"] if _sequences(config, devices) > 1 else []),
        *(["parallel.precision bf16"] if config.parallel.precision == "fp32" else []),
        *(["parallel.recompute full"] if config.parallel.recompute != "full" else []),
        *([f"parallel.shard fsdp on {enough} devices"] if enough else []),
    ]
    raise UserError(
        f"training takes about {size(needed.total)} on {'each of ' if devices > 1 else ''}{device} ({needed}), and "
        f"{size(free)} are free; what helps: {', '.join(helps) or 'a smaller model'}"
    )


def available(device: Any) -> int | None:
    """Bytes that are free on a device; None where the system does not say."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


def meta_batch(model: Any, config: TrainConfig) -> Batch:
    """A micro-batch's shapes: full sequences with as many pictures as they may hold."""
    sequences, length, side = _sequences(config, 1), config.packing.tokens, model.config.vision_config.image_size
    places = pictures(model, config)
    with torch.device("meta"):
        ids = torch.zeros(sequences, length, dtype=torch.int64)
        total = sequences * places
        return Batch(
            input_ids=ids,
            labels=ids,
            position=ids,
            document=ids,
            image=ids,
            source=ids,
            pixels=torch.zeros(total, side, side, 3, dtype=torch.uint8),
            extent=torch.zeros(total, 2, dtype=torch.int64),
            slots=torch.zeros(total, 2, dtype=torch.int64),
            places=places,
            keys=[],
        )


def pictures(model: Any, config: TrainConfig) -> int:
    """How many pictures a sequence may hold: an image is several where it is cut, and each takes its tokens."""
    images, config_of = config.packing.images, model.config
    if config_of.model_type == "idefics":
        return images
    side, split = config_of.vision_config.image_size, config.images.split
    if config_of.model_type == "idefics2":
        latents = config_of.perceiver_config.resampler_n_latents
        return int(min(images * (5 if split else 1), max(1, config.packing.tokens // latents)))
    tiles = (-(-config.images.longest // side)) ** 2 + 1 if split is not False else 1
    latents = (side // config_of.vision_config.patch_size // config_of.scale_factor) ** 2
    return int(min(images * tiles, max(1, config.packing.tokens // latents)))


def size(count: float) -> str:
    """Bytes as a person says them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def _sequences(config: TrainConfig, devices: int) -> int:
    return config.micro_batch or max(1, config.batch_size // devices)


class _Saved:
    """What autograd saves, by the block that was being computed; each storage once, and weights not at all."""

    def __init__(self) -> None:
        self.outside: dict[int, int] = {}
        self.units: list[dict[int, int]] = []
        self.inputs: list[int] = []
        self.expensive: list[int] = []
        self.inside = False
        self.seen: dict[int, Any] = {}  # storages stay, so that no other takes their place and name

    def keep(self, tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.seen and not isinstance(tensor, torch.nn.Parameter):
            self.seen[storage._cdata] = storage
            (self.units[-1] if self.inside else self.outside)[storage._cdata] = storage.nbytes()
        return tensor

    def give(self, tensor: Any) -> Any:
        return tensor

    def weights(self, model: Any) -> None:
        for parameter in model.parameters():
            storage = parameter.untyped_storage()
            self.seen[storage._cdata] = storage


class _Expensive(TorchDispatchMode):  # type: ignore[misc]
    """Adds up what a block's multiplications give, which selective recomputing keeps."""

    def __init__(self, saved: _Saved) -> None:
        super().__init__()
        self.saved = saved

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        made = function(*arguments, **(named or {}))
        if self.saved.inside and function in KEPT:
            self.saved.expensive[-1] += made.nbytes
        return made


class _Fused(TorchFunctionMode):  # type: ignore[misc]
    """SDPA as its fused kernels keep it: on the device meta it would be spelled out, with all its scores."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        if function is torch.nn.functional.scaled_dot_product_attention:
            return _Attention.apply(*arguments[:3])
        return function(*arguments, **(named or {}))


class _Attention(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(context: Any, query: Any, key: Any, value: Any) -> Any:
        made = torch.empty_like(query)
        context.save_for_backward(query, key, value, made)
        return made

    @staticmethod
    def backward(context: Any, *_: Any) -> Any:
        raise NotImplementedError


@contextmanager
def _one_precision(model: Any) -> Iterator[None]:
    """Casts are not known to the device meta: for the while all weights are what the model computes in."""
    before = [(parameter, parameter.data) for parameter in model.parameters()]
    mixed, model.mixed = getattr(model, "mixed", False), False
    for parameter, values in before:
        parameter.data = values.to(model.compute)
    try:
        yield
    finally:
        model.mixed = mixed
        for parameter, values in before:
            parameter.data = values


@contextmanager
def _watching(model: Any, saved: _Saved) -> Iterator[None]:
    def begin(_module: Any, inputs: Any, named: Any) -> None:
        states = next(value for value in (*inputs, *named.values()) if torch.is_tensor(value))
        saved.inside = True
        saved.units.append({})
        saved.inputs.append(states.nbytes * torch.is_grad_enabled())
        saved.expensive.append(0)

    def end(*_: Any) -> None:
        saved.inside = False

    saved.weights(model)
    hooks = []
    for unit in model.units():
        hooks += [unit.register_forward_pre_hook(begin, with_kwargs=True), unit.register_forward_hook(end)]
    try:
        with _Expensive(saved):
            yield
    finally:
        for hook in hooks:
            hook.remove()
