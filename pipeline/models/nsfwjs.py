"""The npm package nsfwjs in; one of its classifiers as an ONNX model with weights as they were published, in uint8, out.

The package holds TensorFlow.js graph models as JavaScript: the graph as an object literal, the weights as base64. What of
TensorFlow's operations the wider MobileNetV2 uses is translated, and nothing else.
"""

import base64
import json
import re
import tarfile
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import UserError

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]

_LITERAL = re.compile(r"e\.exports=(\{format:.*?\})\},\{\}\]\},\{\},\[1\]", re.DOTALL)
_BASE64 = re.compile(r'exports="([A-Za-z0-9+/]+=*)"')
_STRING = re.compile(r'("(?:[^"\\]|\\.)*")')


def convert(package: Path, name: str) -> "onnx.ModelProto":
    """The graph model `name` of an nsfwjs package (a .tgz of `npm pack`); it takes images [n, height, width, 3] of RGB / 255.

    Raises:
        UserError: no such file, no package, no such model in it, or an operation that is not known here.
    """
    import onnx

    try:
        with tarfile.open(package, "r:gz") as archive:
            files = {
                Path(member.name).name: archive.extractfile(member).read().decode()  # type: ignore[union-attr]
                for member in archive
                if f"/dist/models/{name}/" in member.name and member.isfile()
            }
    except (OSError, tarfile.TarError, EOFError) as error:
        raise UserError(f"{package}: no package of npm: {error} (npm pack nsfwjs@4.3.0 fetches it)") from None
    literal = _LITERAL.search(files.get("model.min.js", ""))
    if literal is None:
        raise UserError(f"{package}: holds no graph model {name}")
    model = json.loads(_as_json(literal[1]))
    graph = _Graph(onnx, f"{package}: {name}")
    for group in model["weightsManifest"]:
        shards = [_BASE64.search(files.get(f"{path}.min.js", "")) for path in group["paths"]]
        if None in shards:
            raise UserError(f"{package}: {name} lacks weights of {', '.join(group['paths'])}")
        data = b"".join(base64.b64decode(shard[1]) for shard in shards if shard)
        sizes = [int(np.prod(weight["shape"])) for weight in group["weights"]]
        for weight, size, end in zip(group["weights"], sizes, accumulate(sizes), strict=True):
            graph.weights[weight["name"]] = _Weight(weight, data[end - size : end])
    for node in model["modelTopology"]["node"]:
        graph.add(node)
    built = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "nsfw",
            [onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, graph.shape)],
            [onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, ["n", None])],
            graph.initializers,
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="carnac",
    )
    onnx.checker.check_model(built)
    return built


def _as_json(literal: str) -> str:
    """A minified object literal of JavaScript: keys without quotes, numbers without a leading 0, !0 for true."""
    parts = _STRING.split(literal)
    for number in range(0, len(parts), 2):
        part = re.sub(r"([{,])([A-Za-z_$][\w$]*):", r'\1"\2":', parts[number])
        part = re.sub(r"(?<![\w.])\.(\d)", r"0.\1", part)
        parts[number] = part.replace("!0", "true").replace("!1", "false")
    return "".join(parts)


class _Weight:
    """A published tensor: uint8 with a scale and a minimum, w = q * scale + min."""

    def __init__(self, entry: dict[str, Any], data: bytes) -> None:
        self.q: Array = np.frombuffer(data, np.uint8).reshape(entry["shape"])
        self.scale = np.float32(entry["quantization"]["scale"])
        self.low = np.float32(entry["quantization"]["min"])

    def floats(self) -> Array:
        floats: Array = self.q.astype(np.float32) * self.scale + self.low
        return floats


class _Graph:
    """The ONNX graph that nodes of TensorFlow become, one after the other; images are [n, channels, height, width]."""

    def __init__(self, onnx: "onnx", where: str) -> None:
        self.weights: dict[str, _Weight] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.shape: list[int | str] = []
        self._onnx, self._where = onnx, where
        self._names: dict[str, str] = {}  # of TensorFlow's nodes, what stands for them here

    def add(self, node: dict[str, Any]) -> None:
        operation, name = node["op"], node["name"]
        inputs = node.get("input", [])
        if operation == "Const":
            return
        if operation == "Placeholder":
            _, *sides = node["attr"]["shape"]["shape"]["dim"]
            self.shape = ["n", *(int(side["size"]) for side in sides)]
            self._names[name] = self._node("Transpose", ["images"], perm=[0, 3, 1, 2])
        elif operation in ("Add", "AddV2", "Mul", "Sub"):
            self._names[name] = self._node(operation.removesuffix("V2"), [self._operand(one) for one in inputs])
        elif operation in ("_FusedConv2D", "FusedDepthwiseConv2dNative"):
            self._names[name] = self._convolution(node)
        elif operation == "AvgPool":
            sides = [int(side) for side in node["attr"]["ksize"]["list"]["i"]][1:3]
            self._names[name] = self._node("AveragePool", [self._names[inputs[0]]], kernel_shape=sides)
        elif operation == "Squeeze":
            self._names[name] = self._node("Flatten", [self._names[inputs[0]]])
        elif operation == "_FusedMatMul":
            weights, bias = self._quantized(inputs[1], (0, 1)), self._tensor(self.weights[inputs[2]].floats())
            product = self._node("Gemm", [self._names[inputs[0]], weights, bias])
            self._names[name] = self._activated(product, node)
        elif operation == "Softmax":
            self._names[name] = self._node("Softmax", [self._names[inputs[0]]], axis=1)
        elif operation == "Identity":
            self._names[name] = self._node("Identity", [self._names[inputs[0]]], out="probabilities")
        else:
            raise UserError(f"{self._where} has the operation {operation}, which is not known here")

    def _convolution(self, node: dict[str, Any]) -> str:
        image, weights, bias = node["input"]
        attributes = node["attr"]
        depthwise = node["op"] == "FusedDepthwiseConv2dNative"
        # From [height, width, in, out], or for each channel alone [height, width, channels, 1].
        kernel = self._quantized(weights, (2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        padding = base64.b64decode(attributes["padding"]["s"]).decode()
        convolved = self._node(
            "Conv",
            [self._names[image], kernel, self._tensor(self.weights[bias].floats())],
            strides=[int(stride) for stride in attributes["strides"]["list"]["i"]][1:3],
            auto_pad="SAME_UPPER" if padding == "SAME" else padding,
            group=self.weights[weights].q.shape[2] if depthwise else 1,
        )
        return self._activated(convolved, node)

    def _activated(self, name: str, node: dict[str, Any]) -> str:
        fused = [base64.b64decode(one).decode() for one in node["attr"]["fused_ops"]["list"]["s"]]
        if fused == ["BiasAdd"]:
            return name
        if fused == ["BiasAdd", "Relu6"]:
            return self._node("Clip", [name, self._tensor(np.float32(0)), self._tensor(np.float32(6))])
        raise UserError(f"{self._where} has the fused operations {', '.join(fused)}, which are not known here")

    def _operand(self, name: str) -> str:
        return self._tensor(self.weights[name].floats()) if name in self.weights else self._names[name]

    def _quantized(self, name: str, axes: tuple[int, ...]) -> str:
        """The weights as they are stored. DequantizeLinear alone cannot say a positive minimum: its zero point is a
        uint8."""
        weight = self.weights[name]
        parts = [np.ascontiguousarray(weight.q.transpose(axes)), np.array(weight.scale)]
        steps = self._node("DequantizeLinear", [self._tensor(part) for part in parts])
        return self._node("Add", [steps, self._tensor(np.array(weight.low))])

    def _tensor(self, values: Any) -> str:
        name = f"w{len(self.initializers)}"
        self.initializers.append(self._onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def _node(self, operation: str, inputs: Iterable[str], out: str = "", **attributes: Any) -> str:
        out = out or f"v{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operation, list(inputs), [out], **attributes))
        return out
