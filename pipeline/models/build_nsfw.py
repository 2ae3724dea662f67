"""A classifier of nsfwjs in; the ONNX file that Carnac reads out, with weights as nsfwjs publishes them, in uint8.

nsfwjs publishes each tensor as uint8 with a scale and a minimum (TensorFlow.js: w = q * scale + min). Of its package, the
wider MobileNetV2 is taken as it is: 4.4 MB, twice the work of the one that comes along.

    npm pack nsfwjs@4.3.0
    python -m pipeline.models.build_nsfw nsfwjs-4.3.0.tgz mobilenet_v2_mid.onnx

In a float32 ONNX, such as the one that came along was made from, the uint8 is found again exactly, so nothing is
quantised a second time.

    python -m pipeline.models.build_nsfw mobilenet_v2.onnx filters/data/nsfw_mobilenet_v2.onnx

Needs the package onnx: pip install 'carnac[build]'.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import UserError
from pipeline.models.nsfwjs import convert

if TYPE_CHECKING:
    import onnx

# A smaller tensor costs more as three nodes than it saves.
MIN_ELEMENTS = 128


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes an ONNX file of an NSFW model.")
    parser.add_argument("input", type=Path, help="a .tgz of the npm package nsfwjs, or an .onnx of float32")
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="mobilenet_v2_mid", help="which one of the package")
    arguments = parser.parse_args()
    try:
        if arguments.input.suffix == ".tgz":
            arguments.output.write_bytes(
                convert(arguments.input, arguments.model).SerializeToString(deterministic=True)
            )
        else:
            arguments.output.write_bytes(build(arguments.input))
    except UserError as error:
        parser.exit(error.status, f"{error}\n")


def build(path: Path) -> bytes:
    """The model at `path` with uint8 weights; the same bytes each time.

    Raises:
        UserError: no such file, no ONNX model, or a tensor whose values are not 256 steps of one scale.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except DecodeError:
        raise UserError(f"{path}: no ONNX model") from None
    graph = model.graph
    initializers, dequantize = [], []
    for tensor in graph.initializer:
        weights = onnx.numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.size < MIN_ELEMENTS:
            initializers.append(tensor)
            continue
        q, scale, low = steps(weights, f"{path}: {tensor.name}")
        parts = {"q": q, "scale": scale, "min": low}
        initializers += [onnx.numpy_helper.from_array(part, f"{tensor.name}.{key}") for key, part in parts.items()]
        dequantize += _nodes(onnx, tensor.name)
    nodes = dequantize + list(graph.node)
    built = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "nsfw", list(graph.input), list(graph.output), initializers),
        opset_imports=list(model.opset_import),
        ir_version=model.ir_version,
        producer_name="carnac",
    )
    onnx.checker.check_model(built)
    data: bytes = built.SerializeToString(deterministic=True)
    return data


Array = np.ndarray[tuple[int, ...], np.dtype[Any]]


def steps(weights: Array, where: str) -> tuple[Array, Array, Array]:
    """`weights` as q (uint8, same shape), scale and min (float32 scalars) with q * scale + min == weights.

    Equal within a few rounding errors of float32. The extremes of a tensor are its q = 0 and q = 255, as
    TensorFlow.js chooses them.
    """
    low, high = float(weights.min()), float(weights.max())
    scale = (high - low) / 255 or 1.0
    q = np.rint((weights.astype(np.float64) - low) / scale)
    if np.abs(q * scale + low - weights).max() > 3e-7 * max(abs(low), abs(high)):
        raise UserError(f"{where} has other values than 256 steps of one scale, which nsfwjs's models have")
    return q.astype(np.uint8), np.array(scale, np.float32), np.array(low, np.float32)


def _nodes(onnx: "onnx", name: str) -> list["onnx.NodeProto"]:
    """DequantizeLinear alone cannot say a positive minimum: its zero point is a uint8."""
    node = onnx.helper.make_node
    return [
        node("DequantizeLinear", [f"{name}.q", f"{name}.scale"], [f"{name}.steps"]),
        node("Add", [f"{name}.steps", f"{name}.min"], [name]),
    ]


if __name__ == "__main__":
    main()
