"""A model and a batch's shape in; floating-point operations of a step out, and what a device can do at most."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from pipeline.training.batch import Batch
from pipeline.training.freeze import is_adapter, stock_name

# Dense bf16 operations a second, of the makers' data sheets (without sparsity). The first name found in a device's counts.
PEAKS = {
    "GB200": 2.5e15,
    "B200": 2.25e15,
    "H200": 989e12,
    "GH200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H800": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "A40": 149.7e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
    "MI300X": 1307e12,
    "MI250X": 191.5e12,  # of one of its two dies, which torch counts as a device
}


@dataclass(frozen=True, slots=True)
class Work:
    """Operations of forward and backward, by sequence and by picture: `model` what the mathematics ask for, `hardware`
    with what is computed twice."""

    model: tuple[float, float]
    hardware: tuple[float, float]

    def of(self, batch: Batch) -> tuple[float, float]:
        """Of a batch: model's, hardware's. Shapes alone are looked at, so nothing waits for the device."""
        sequences, pictures = len(batch.input_ids), len(batch.pixels)
        return self.among(sequences, pictures)

    def among(self, sequences: float, pictures: float) -> tuple[float, float]:
        model, hardware = ((s * sequences + p * pictures) for s, p in (self.model, self.hardware))
        return model, hardware


def work(model: Any, length: int, recompute: str = "none", *, attention: bool = True) -> Work:
    """The operations of a model over sequences of `length` tokens.

    A multiplication of n rows by a matrix is 2 n in out; the gradient of its input as much again, that of its weight
    too where it is trained: a frozen language model is charged 4 operations a parameter and token, not 6. Attention is
    counted for the keys that a token may see: half of a sequence where it is causal (documents within it are not taken
    into account), one image in the cross-attention. Norms, activations and embeddings are left out.

    The hardware also makes the head's logits twice (`loss.linear_losses`), and each block's forward where `recompute`
    is full (but for its last multiplication, if that is frozen, which torch leaves out); selective keeps what
    multiplications give. Without `attention` only multiplications by weights count.
    """
    charged = {True: [0.0, 0.0], False: [0.0, 0.0]}  # blocks, and what is in none
    again = {True: [0.0, 0.0], False: [0.0, 0.0]}
    flows = _flows(model)
    inside = {id(module) for unit in model.units() for module in unit.modules()}
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Linear, nn.Conv2d)):
            continue
        size = module.weight.numel()
        backward = _reaches(stock_name(name), flows) + module.weight.requires_grad
        for axis, rows in enumerate(_rows(model, name, length)):
            charged[id(module) in inside][axis] += 2 * size * rows * (1 + backward)
            again[id(module) in inside][axis] += 2 * size * rows * flows[_part(name)]
    for part, operations in (_attention(model, length) if attention else {}).items():
        for axis, count in enumerate(operations):
            charged[True][axis] += count * (1 + 2 * flows[part])
            again[True][axis] += count * flows[part]
    total = [charged[True][axis] + charged[False][axis] for axis in (0, 1)]
    head = 2 * sum(weight.numel() for weight in model.head()) * length
    extra = [head, 0.0]
    if recompute == "full":
        extra = [more + twice for more, twice in zip(extra, again[True], strict=True)]
    return Work((total[0], total[1]), (total[0] + extra[0], total[1] + extra[1]))


def peak(device: str) -> float | None:
    """Dense bf16 operations a second of a device by its name (`torch.cuda.get_device_name()`); None: not in the table."""
    return next((operations for name, operations in PEAKS.items() if name in device), None)


def _part(name: str) -> str:
    if name.startswith("model.vision_model."):
        return "vision"
    if name.startswith(("model.perceiver_resampler", "model.connector")):
        return "perceiver"
    return "cross" if name.startswith("model.gated_cross_attn_layers.") else "language"


def _flows(model: Any) -> dict[str, bool]:
    """Whether gradients of states are made in a part: where something before it, or in it, is trained."""
    trained = {_part(stock_name(name)) for name, p in model.named_parameters() if p.requires_grad}
    vision, perceiver = "vision" in trained, bool(trained & {"vision", "perceiver"})
    return {"vision": vision, "perceiver": perceiver, "cross": True, "language": bool(trained)}


def _reaches(name: str, flows: dict[str, bool]) -> bool:
    """Whether the gradient of a matrix's input is made: not of pixels, nor of what frozen parts before it give.

    Of a language model in which something is trained, all layers are taken to have one, also those before the first.
    """
    if name.endswith("patch_embedding"):
        return False
    if _part(name) == "cross" and name.endswith(("k_proj", "v_proj")):
        return flows["perceiver"]
    first = name.startswith("model.connector.modality_projection.") and not name.endswith("down_proj")
    return flows["vision" if first else _part(name)]


def _rows(model: Any, name: str, length: int) -> tuple[float, float]:
    """How many rows a matrix is multiplied with: of a sequence, of a picture."""
    config, stock = model.config, stock_name(name)
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    seen = patches + (config.model_type == "idefics")  # and the class
    part, layer = (
        _part(stock),
        next((p for p in reversed(stock.split(".")) if not is_adapter(p) and p != "default"), ""),
    )
    if part == "vision":
        return 0, patches if layer == "patch_embedding" else seen
    latents = _latents(config)
    if part == "perceiver":
        if config.model_type == "idefics3":
            return 0, latents
        if "modality_projection" in stock:
            return 0, patches
        return 0, latents + seen if layer in {"k_proj", "v_proj"} else latents
    if part == "cross" and layer in {"k_proj", "v_proj"}:
        return 0, latents
    return length, 0


def _latents(config: Any) -> int:
    if config.model_type == "idefics3":
        return int((config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor) ** 2)
    return int(config.perceiver_config.resampler_n_latents)


def _attention(model: Any, length: int) -> dict[str, tuple[float, float]]:
    """Operations of scores and of sums over values, forward, by part: of a sequence, of a picture."""
    config = model.config
    vision, text = config.vision_config, config.get_text_config()
    seen = (vision.image_size // vision.patch_size) ** 2 + (config.model_type == "idefics")
    latents = _latents(config)
    found = {
        "vision": (0.0, 4.0 * seen * seen * vision.hidden_size * vision.num_hidden_layers),
        "language": (2.0 * length * length * text.hidden_size * text.num_hidden_layers, 0.0),
    }
    if config.model_type != "idefics3":
        perceiver = config.perceiver_config
        inner = perceiver.resampler_n_heads * perceiver.resampler_head_dim
        found["perceiver"] = (0.0, 4.0 * latents * (seen + latents) * inner * perceiver.resampler_depth)
    if config.model_type == "idefics":
        layers = config.num_hidden_layers // config.cross_layer_interval
        found["cross"] = (4.0 * length * latents * config.hidden_size * layers, 0.0)
    return found
