"""A model without values in; the same with its weights out: of checkpoints, or drawn."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.utils import cached_file

from pipeline.errors import UserError
from pipeline.training import idefics
from pipeline.training.config import Model
from pipeline.training.freeze import is_adapter, stock_name

# How a model's weights may lie in a folder or at the hub: whole, or with an index of their files.
FILES = ("model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin")


def fill(model: Any, settings: Model, seed: int) -> None:
    """Gives each parameter its value, and each buffer its own; shards (DTensor) get their part of it.

    What no checkpoint holds is drawn: by m4's recipe what IDEFICS trains, all else as transformers does. A value is a
    function of the seed, the parameter's name and the kind of device, so it is the same however the model is sharded.

    Raises:
        UserError: weights that cannot be read, are of other sizes, or lack some of the model's.
    """
    todo = {stock_name(name): parameter for name, parameter in model.named_parameters()}
    language, vision = prefixes(settings.family)
    for path, wanted, renamed in (
        (settings.checkpoint, "", lambda name: name),
        (settings.language, language, lambda name: name.replace("model.", language, 1) if "model." in name else name),
        (settings.vision_encoder, vision, lambda name: vision + name.removeprefix("vision_model.")),
    ):
        if path:
            _load(path, todo, wanted, renamed, settings.family)
    for name, parameter in todo.items():
        if not is_adapter(name):
            assign(parameter, draw(name, parameter, model.config, settings, seed))
    _start_adapters(model, seed)
    _fill_buffers(model)


def prefixes(family: str) -> tuple[str, str]:
    """What the names of the language model's and of the vision encoder's parameters begin with."""
    return ("model." if family == "idefics" else "model.text_model."), "model.vision_model."


def draw(name: str, parameter: Any, config: Any, settings: Model, seed: int) -> Any:
    """A first value for a parameter, fp32, on its device."""
    shape, device = parameter.shape, parameter.device
    last = name.rpartition(".")[2]
    if last == "bias":
        return torch.zeros(shape, device=device)
    if (last == "weight" and len(shape) == 1) or (settings.family == "idefics2" and last == "latents"):
        return torch.ones(shape, device=device)
    deviation = idefics.spread(name, shape, config) if settings.family == "idefics" else None
    if deviation is None:
        deviation = 1.0 if last == "class_embedding" else settings.initializer_range
    return torch.empty(shape, device=device).normal_(std=deviation, generator=_generator(seed, name, device))


def assign(parameter: Any, value: Any) -> None:
    """Copies a whole value into a parameter, or what a shard of it holds."""
    value = value.to(device=parameter.device, dtype=parameter.dtype)
    with torch.no_grad():
        if isinstance(parameter, DTensor):
            # Each rank has the whole value, so none has to send it.
            value = distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
        parameter.copy_(value)


def stored(path: str) -> Iterator[tuple[str, Any]]:
    """Names and tensors of a folder or of a model of the hub, one at a time.

    Raises:
        UserError: no such model, no weights in it, damaged files, or a hub that does not answer.
    """
    for file in _files(path):
        try:
            if file.suffix == ".safetensors":
                with safe_open(file, framework="pt") as tensors:
                    for name in tensors.keys():  # noqa: SIM118
                        yield name, tensors.get_tensor(name)
            else:
                yield from torch.load(file, map_location="cpu", weights_only=True, mmap=True).items()
        except (SafetensorError, OSError, RuntimeError, ValueError) as error:
            raise UserError(f"{file}: no readable weights: {str(error).splitlines()[0]}") from None


def _load(path: str, todo: dict[str, Any], wanted: str, renamed: Callable[[str], str], family: str) -> None:
    """Takes from `todo` what the weights at `path` give of it."""
    language, vision = prefixes(family)
    expected = {
        name
        for name in todo
        if not is_adapter(name)
        and (not wanted or (name.startswith(vision) if wanted == vision else _is_language(name, language)))
    }
    for name, value in stored(path):
        target = renamed(name)
        if target not in expected:
            continue  # a text encoder beside the vision encoder, buffers that old checkpoints hold
        parameter = todo[target]
        assign(parameter, value if value.shape == parameter.shape else _grown(value, parameter, target, path))
        del todo[target]
        expected.discard(target)
    if expected:
        some = ", ".join(sorted(expected)[:3])
        raise UserError(f"{path}: holds no {some}{' …' if len(expected) > 3 else ''}; is it of family {family}?")


def _is_language(name: str, language: str) -> bool:
    """Whether a language model of its own has such a parameter, too."""
    rest = name.removeprefix(language)
    return name == "lm_head.weight" or rest in {"embed_tokens.weight", "norm.weight"} or rest.startswith("layers.")


def _grown(value: Any, parameter: Any, name: str, path: str) -> Any:
    """A table of a smaller vocabulary, with the mean of its rows for each token that is new."""
    missing = len(parameter) - len(value)
    tables = ("embed_tokens.weight", "lm_head.weight", "additional_embedding.weight", "additional_fc.weight")
    if not name.endswith(tables) or value.shape[1:] != parameter.shape[1:] or missing < 0:
        raise UserError(
            f"{path}: {name} is {tuple(value.shape)}, the configuration's sizes make it {tuple(parameter.shape)}"
        )
    return torch.cat([value, value.float().mean(0, keepdim=True).to(value.dtype).expand(missing, -1)])


def _files(path: str) -> list[Path]:
    try:
        if not Path(path).is_dir():
            cached_file(path, "config.json")  # every model of the hub has one; where it cannot be had, that says why
        for name in FILES:
            found = cached_file(path, name, _raise_exceptions_for_missing_entries=False)
            if found is None:
                continue
            if not name.endswith(".index.json"):
                return [Path(found)]
            shards = set(json.loads(Path(found).read_text(encoding="utf-8"))["weight_map"].values())
            return [Path(cached_file(path, shard)) for shard in sorted(shards)]
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: no weights in a folder, and none that the hub gives: {reason}") from None
    raise UserError(f"{path}: holds none of {', '.join(FILES)}")


def _start_adapters(model: Any, seed: int) -> None:
    """Adapters that change nothing yet: A drawn (He uniform, as LoRA's), B zero, DoRA's magnitudes those of the weight."""
    for path, layer in model.named_modules():
        if not hasattr(layer, "lora_A"):
            continue
        first, second = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        bound = 1 / math.sqrt(first.shape[1])  # kaiming_uniform_ with a = sqrt(5)
        value = torch.empty(first.shape, device=first.device)
        assign(first, value.uniform_(-bound, bound, generator=_generator(seed, path, first.device)))
        assign(second, torch.zeros(second.shape, device=second.device))
        if layer.lora_magnitude_vector:
            weight = layer.base_layer.weight.detach()
            whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
            assign(layer.lora_magnitude_vector["default"].weight, whole.float().norm(dim=1))


def _fill_buffers(model: Any) -> None:
    """Frequencies of rotary embeddings and numbers of positions, which are in no checkpoint."""
    for module in model.modules():
        if hasattr(module, "inv_freq"):
            model._init_weights(module)  # transformers' own way, whatever the kind of rotation
        elif "position_ids" in module._buffers:
            module.position_ids.copy_(torch.arange(module.position_ids.shape[-1]).expand(1, -1))


def _generator(seed: int, name: str, device: Any) -> Any:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8]) >> 1)
