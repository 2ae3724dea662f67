"""Packages of nsfwjs, made here in its own format: what TensorFlow would answer comes out of the ONNX that they become."""

import base64
import io
import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.models import build_nsfw
from pipeline.models.nsfw import Nsfw
from pipeline.models.nsfwjs import convert
from tests.test_nsfw import pictures

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
SIDE, CHANNELS, LABELS = 9, 4, 5


def quantised(*shape: int, seed: int) -> tuple[dict[str, Any], bytes, Array]:
    """A tensor as the package has it: its entry in the manifest, its bytes, its values."""
    q = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    entry = {"shape": list(shape), "dtype": "float32", "quantization": {"min": -0.51, "scale": 0.004, "dtype": "uint8"}}
    return entry, q.tobytes(), q.astype(np.float32) * np.float32(0.004) - np.float32(0.51)


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def convolution(op: str, stride: int, *fused: str) -> dict[str, Any]:
    strides = {"list": {"i": ["1", str(stride), str(stride), "1"]}}
    names = {"list": {"s": [text(name)["s"] for name in fused]}}
    return {"op": op, "attr": {"strides": strides, "padding": text("SAME"), "fused_ops": names}}


TENSORS = {
    "conv": quantised(3, 3, 3, CHANNELS, seed=1),
    "conv_bias": quantised(CHANNELS, seed=2),
    "depth": quantised(3, 3, CHANNELS, 1, seed=3),
    "depth_bias": quantised(CHANNELS, seed=4),
    "dense": quantised(CHANNELS, LABELS, seed=5),
    "dense_bias": quantised(LABELS, seed=6),
    "one": quantised(seed=7),
}
POOL = {"ksize": {"list": {"i": ["1", "5", "5", "1"]}}}
NODES: list[dict[str, Any]] = [
    {"name": "in", "op": "Placeholder", "attr": {"shape": {"shape": {"dim": [{"size": s} for s in ("-1", "9", "9", "3")]}}}},
    {"name": "sub", "op": "Sub", "input": ["in", "one"]},
    {"name": "a", "input": ["sub", "conv", "conv_bias"], **convolution("_FusedConv2D", 2, "BiasAdd", "Relu6")},
    {"name": "b", "input": ["a", "depth", "depth_bias"], **convolution("FusedDepthwiseConv2dNative", 1, "BiasAdd")},
    {"name": "sum", "op": "AddV2", "input": ["a", "b"]},
    {"name": "pool", "op": "AvgPool", "input": ["sum"], "attr": POOL},
    {"name": "flat", "op": "Squeeze", "input": ["pool"]},
    {"name": "logits", "input": ["flat", "dense", "dense_bias"], **convolution("_FusedMatMul", 1, "BiasAdd")},
    {"name": "soft", "op": "Softmax", "input": ["logits"]},
    {"name": "out", "op": "Identity", "input": ["soft"]},
]  # fmt: skip


def package(path: Path, nodes: list[dict[str, Any]] = NODES, shards: int = 2) -> Path:
    """A package of npm with one graph model, minified as nsfwjs's are: bare keys, no leading zeros, !0."""
    data = b"".join(stored for _, stored, _ in TENSORS.values())
    cut = len(data) // 2
    manifest = [{"paths": ["s1", "s2"], "weights": [{"name": n, **entry} for n, (entry, _, _) in TENSORS.items()]}]
    model = {"format": "graph-model", "trained": True, "modelTopology": {"node": nodes}, "weightsManifest": manifest}
    literal = re.sub(r'"([A-Za-z_]\w*)":', r"\1:", json.dumps(model, separators=(",", ":")))
    literal = literal.replace("0.", ".").replace("true", "!0")
    files = {"model": f"!function(){{({{1:[function(t,e,a){{e.exports={literal}}},{{}}]}},{{}},[1])}}();"}
    for number, part in enumerate((data[:cut], data[cut:])[:shards], 1):
        files[f"s{number}"] = f'({{}},{{}}]}},{{}},[1])(1)}});exports="{base64.b64encode(part).decode()}"'
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/dist/models/mobilenet_v2_mid/{name}.min.js")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return path


def expected(images: Array) -> Array:
    """What TensorFlow makes of images [n, 9, 9, 3], by its definitions."""
    value = {name: floats for name, (_, _, floats) in TENSORS.items()}
    padded = np.pad(images - value["one"], ((0, 0), (1, 1), (1, 1), (0, 0)))
    a = np.zeros((len(images), 5, 5, CHANNELS))
    b = np.zeros_like(a)
    for y, x in np.ndindex(3, 3):
        a += padded[:, y : y + 9 : 2, x : x + 9 : 2] @ value["conv"][y, x]
    a = np.clip(a + value["conv_bias"], 0, 6)
    padded = np.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for y, x in np.ndindex(3, 3):
        b += padded[:, y : y + 5, x : x + 5] * value["depth"][y, x, :, 0]
    logits = (a + b + value["depth_bias"]).mean((1, 2)) @ value["dense"] + value["dense_bias"]
    shares: Array = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return shares


def test_a_graph_model_answers_what_its_operations_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "wide.onnx"
    monkeypatch.setattr(sys, "argv", ["build_nsfw", str(package(tmp_path / "nsfwjs.tgz")), str(out)])
    build_nsfw.main()
    several = pictures(3)
    classifier = Nsfw(str(out))
    assert classifier.reader.side == 2 * SIDE
    scores = np.array([list(one.values()) for one in classifier.score(several)])
    read = np.stack([classifier.reader.read(picture) for picture in several]).astype(np.float32) / 255
    assert scores == pytest.approx(expected(read), abs=1e-5)
    assert np.ptp(scores, axis=0).max() > 1e-3


def test_weights_stay_bytes(tmp_path: Path) -> None:
    model = convert(package(tmp_path / "nsfwjs.tgz"), "mobilenet_v2_mid")
    stored = [tensor for tensor in model.graph.initializer if tensor.data_type == 2]  # uint8
    assert [len(tensor.raw_data) for tensor in stored] == [3 * 3 * 3 * CHANNELS, 3 * 3 * CHANNELS, CHANNELS * LABELS]


def test_a_package_that_will_not_do_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = package(tmp_path / "unknown.tgz", [*NODES[:1], {"name": "x", "op": "Einsum", "input": ["in"]}])
    fused = [
        {**node, **convolution("_FusedConv2D", 1, "BiasAdd", "Elu")} if node["name"] == "a" else node for node in NODES
    ]
    (tmp_path / "page.tgz").write_text("<html>Not found</html>")
    for path, name, says in (
        (tmp_path / "none.tgz", "mobilenet_v2_mid", "none.tgz: no package of npm"),
        (tmp_path / "page.tgz", "mobilenet_v2_mid", "npm pack nsfwjs@4.3.0 fetches it"),
        (package(tmp_path / "whole.tgz"), "inception_v3", "holds no graph model inception_v3"),
        (package(tmp_path / "cut.tgz", shards=1), "mobilenet_v2_mid", "lacks weights of s1, s2"),
        (unknown, "mobilenet_v2_mid", "has the operation Einsum"),
        (package(tmp_path / "fused.tgz", fused), "mobilenet_v2_mid", "has the fused operations BiasAdd, Elu"),
    ):
        with pytest.raises(UserError) as caught:
            convert(path, name)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(sys, "argv", ["build_nsfw", str(tmp_path / "none.tgz"), str(tmp_path / "out.onnx")])
    with pytest.raises(SystemExit) as stopped:
        build_nsfw.main()
    assert stopped.value.code == 2
    assert not (tmp_path / "out.onnx").exists()
