"""NSFW scores: the published classifier's, for what decodes; a model that is not there or not whole is one line."""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image as Pillow

from filters.safe_page import nsfw_image
from filters.safety import nsfw, nsfw_label
from filters.verdict import Verdict
from pipeline.document import Image
from pipeline.errors import UserError
from pipeline.models.build_nsfw import build
from pipeline.models.nsfw import LABELS, MODEL, Nsfw
from pipeline.pixels import Broken, Facts, Reader, look
from tests.documents import document


@pytest.fixture(scope="module")
def classifier() -> Nsfw:
    return Nsfw()


def see(data: bytes, reader: Reader) -> Facts | Broken:
    return look(data, max_bytes=10**8, max_pixels=10**8, seconds=60, readers=[reader])


def score(classifier: Nsfw, data: bytes) -> dict[str, float]:
    facts = see(data, classifier.reader)
    assert isinstance(facts, Facts)
    return classifier.score([facts.read["nsfw"]])[0]


def pictures(count: int) -> list[Pillow.Image]:
    random = np.random.default_rng(1)
    coarse = [Pillow.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)) for _ in range(count)]
    return [picture.resize((300 + 10 * n, 250), Pillow.Resampling.BICUBIC) for n, picture in enumerate(coarse)]


def judged(hentai: float, porn: float) -> Verdict:
    return nsfw(scored(nsfw_hentai=hentai, nsfw_porn=porn), hentai=0.9, porn=0.85)


def scored(**scores: float) -> Image:
    return Image("http://a/b.jpg", "b.jpg", scores=scores)


@pytest.mark.parametrize(
    ("hentai", "porn", "keep", "value", "bound"),
    [
        (0.1, 0.2, True, "hentai 0.1, porn 0.2", "hentai at most 0.9, porn at most 0.85"),
        (0.9, 0.85, True, "hentai 0.9, porn 0.85", "hentai at most 0.9, porn at most 0.85"),
        (0.9001, 0.0, False, "hentai 0.9001", "hentai at most 0.9"),
        (0.0, 0.8501, False, "porn 0.8501", "porn at most 0.85"),
        (0.95, 0.91, False, "hentai 0.95", "hentai at most 0.9"),
        (0.0, 0.91, False, "porn 0.91", "porn at most 0.85"),
        (float("nan"), 0.0, False, "hentai nan", "hentai at most 0.9"),
    ],
)
def test_an_image_above_either_maximum_goes(hentai: float, porn: float, keep: bool, value: str, bound: str) -> None:
    assert judged(hentai, porn) == Verdict(keep, value, bound)


def test_an_image_that_was_not_scored_is_not_taken_for_safe() -> None:
    assert nsfw(scored(), hentai=0.9, porn=0.85) == Verdict(False, "not scored", "hentai at most 0.9")
    assert not nsfw(scored(nsfw_hentai=0), hentai=0.9, porn=0.85).keep
    assert nsfw_label(scored(), label="lewd", max=0.5) == Verdict(False, "not scored", "lewd at most 0.5")


def test_a_label_of_another_classifier_can_be_judged() -> None:
    assert nsfw_label(scored(nsfw_lewd=0.5), label="lewd", max=0.5).keep
    assert nsfw_label(scored(nsfw_lewd=0.6), label="lewd", max=0.5) == Verdict(False, "lewd 0.6", "lewd at most 0.5")


def test_a_page_goes_with_its_first_unsafe_image() -> None:
    page = document(scored(nsfw_hentai=0, nsfw_porn=0), scored(nsfw_hentai=0, nsfw_porn=0.9))
    assert nsfw_image(page, hentai=0.9, porn=0.85) == Verdict(False, "porn 0.9", "porn at most 0.85")
    assert nsfw_image(page, hentai=0.9, porn=0.95).keep


def test_the_model_that_comes_along_is_small_and_the_one_that_its_licence_names() -> None:
    data = MODEL.read_bytes()
    assert len(data) < 3_000_000
    assert hashlib.sha256(data).hexdigest() in MODEL.with_name("nsfw_mobilenet_v2.LICENSE.md").read_text()


def test_scores_are_probabilities_of_the_five_labels(classifier: Nsfw) -> None:
    for scores in classifier.score(pictures(2)):
        assert list(scores) == [f"nsfw_{label}" for label in LABELS]
        assert sum(scores.values()) == pytest.approx(1, abs=1e-4)


def test_a_picture_has_the_same_scores_alone_among_others_and_in_another_process_s_model(classifier: Nsfw) -> None:
    several = pictures(5)
    alone = [classifier.score([picture])[0] for picture in several]
    assert classifier.score(several) == alone
    assert Nsfw().score(several[::-1]) == alone[::-1]
    assert classifier.score([]) == []


def test_what_the_reader_made_scores_as_the_picture_does(classifier: Nsfw) -> None:
    picture = pictures(1)[0]
    assert classifier.score([classifier.reader.read(picture)]) == classifier.score([picture])


@pytest.mark.parametrize("share", [0.2, 0.6, 0.98])
def test_a_cut_image_is_broken_not_black(classifier: Nsfw, share: float) -> None:
    asked: list[Pillow.Image] = []
    reader = Reader("nsfw", classifier.reader.side, asked.append)
    for format in ("jpeg", "png", "webp"):
        out = io.BytesIO()
        Pillow.effect_noise((1000, 1000), 80).convert("RGB").save(out, format)
        assert isinstance(see(out.getvalue()[: int(share * len(out.getvalue()))], reader), Broken)
    assert asked == []


@pytest.mark.material
def test_no_damaged_image_is_ever_scored(classifier: Nsfw, material: Path) -> None:
    rows = [json.loads(line) for line in (material / "images" / "index.jsonl").read_text().splitlines()]
    bad = [row["file"] for row in rows if row["kind"] == "bad"]
    answers = [see((material / "images" / file).read_bytes(), classifier.reader) for file in bad]
    assert [type(answer) for answer in answers] == [Broken] * 146


@pytest.mark.material
def test_scores_are_those_of_the_reference_and_no_verdict_differs(classifier: Nsfw, material: Path) -> None:
    rows = [json.loads(line) for line in (material / "reference" / "nsfw-scores.jsonl").read_text().splitlines()]
    assert len(rows) == 200
    for row in rows:
        scores = score(classifier, (material / "images" / row["file"]).read_bytes())
        for label in LABELS:
            assert scores[f"nsfw_{label}"] == pytest.approx(row[label], abs=0.02), row["file"]
        ours = judged(scores["nsfw_hentai"], scores["nsfw_porn"]).keep
        assert ours == judged(row["hentai"], row["porn"]).keep


@pytest.mark.material
def test_a_drafted_jpeg_scores_as_the_whole_one(classifier: Nsfw, material: Path) -> None:
    folder = material / "images"
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    large = [row for row in rows if row["kind"] == "good" and min(row["width"], row["height"]) >= 750]
    drafted = 0
    for row in large:
        data = (folder / row["file"]).read_bytes()
        if row["format"] not in ("JPEG", "AVIF", "WEBP"):
            continue
        with Pillow.open(io.BytesIO(data)) as image:
            whole = image.convert("RGB")
        if row["format"] != "JPEG":  # other formats' photographs, of the size at which a JPEG is drafted
            whole = whole.resize((1344, 900), Pillow.Resampling.LANCZOS)
            out = io.BytesIO()
            whole.save(out, "JPEG", quality=92)
            data = out.getvalue()
            with Pillow.open(io.BytesIO(data)) as image:
                whole = image.convert("RGB")
        sizes: list[tuple[int, int]] = []
        see(data, Reader("size", classifier.reader.side, lambda picture, sizes=sizes: sizes.append(picture.size)))  # type: ignore[misc]
        drafted += sizes[0] < whole.size
        ours, theirs = score(classifier, data), classifier.score([whole])[0]
        assert max(abs(ours[name] - theirs[name]) for name in theirs) < 0.06, row["file"]
        assert (
            judged(ours["nsfw_hentai"], ours["nsfw_porn"]).keep
            == judged(theirs["nsfw_hentai"], theirs["nsfw_porn"]).keep
        )
    assert drafted >= 10


@pytest.mark.material
def test_the_model_is_what_the_script_makes_of_the_published_weights(material: Path) -> None:
    assert build(material / "models" / "mobilenet_v2.onnx") == MODEL.read_bytes()


def test_the_script_refuses_weights_that_were_never_uint8(tmp_path: Path) -> None:
    path = own(tmp_path / "own.onnx")
    with pytest.raises(UserError, match=r"own\.onnx: w has other values than 256 steps of one scale"):
        build(path)
    with pytest.raises(UserError, match=r"none\.onnx: No such file"):
        build(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UserError, match=r"text\.onnx: no ONNX model"):
        build(tmp_path / "text.onnx")


def own(path: Path, outputs: int = 2, shape: Sequence[Any] = ("n", 3, 8, 8)) -> Path:
    """A classifier of one's own: a matrix of random weights over the pixels, then a softmax."""
    weights = np.random.default_rng(3).normal(0, 0.01, (3 * 8 * 8, outputs)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Flatten", ["x"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "w"], ["logits"]),
        onnx.helper.make_node("Softmax", ["logits"], ["y"], axis=1),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "own",
        [onnx.helper.make_tensor_value_info("x", 1, shape)],
        [onnx.helper.make_tensor_value_info("y", 1, ["n", outputs])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("shape", [("n", 3, 8, 8), ("n", 8, 8, 3)])
def test_an_onnx_file_of_one_s_own_is_asked_in_its_own_layout(tmp_path: Path, shape: Sequence[Any]) -> None:
    path = own(tmp_path / "own.onnx", shape=shape)
    picture = pictures(1)[0]
    scores = Nsfw(str(path), labels=["fine", "lewd"]).score([picture])[0]
    pixels = np.asarray(picture.resize((8, 8), Pillow.Resampling.BICUBIC), np.float32) / 255
    flat = (pixels.transpose(2, 0, 1) if shape[1] == 3 else pixels).ravel()
    logits = flat @ np.random.default_rng(3).normal(0, 0.01, (192, 2)).astype(np.float32)
    expected = np.exp(logits) / np.exp(logits).sum()
    assert scores == pytest.approx({"nsfw_fine": expected[0], "nsfw_lewd": expected[1]}, abs=1e-5)


def test_five_outputs_without_labels_are_those_of_nsfwjs(tmp_path: Path) -> None:
    scores = Nsfw(str(own(tmp_path / "own.onnx", 5))).score(pictures(1))[0]
    assert list(scores) == [f"nsfw_{label}" for label in LABELS]


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("none.onnx", "there is no file"),
        ("a/b/none", "there is no file"),
        ("cut.onnx", "is no whole ONNX model"),
        ("empty.onnx", "is no whole ONNX model"),
        ("picture.onnx", "is no whole ONNX model"),
        ("page.bin", "is no whole ONNX model"),
        ("vectors.onnx", "takes x tensor"),
        ("two.onnx", "has 2 outputs, 5 labels are given"),
    ],
)
def test_a_model_that_will_not_do_is_one_line_before_any_work(tmp_path: Path, file: str, says: str) -> None:
    (tmp_path / "cut.onnx").write_bytes(MODEL.read_bytes()[:1_000_000])
    (tmp_path / "empty.onnx").write_bytes(b"")
    Pillow.new("RGB", (9, 9)).save(tmp_path / "picture.onnx", "png")
    (tmp_path / "page.bin").write_text("<html>Not found</html>")
    own(tmp_path / "vectors.onnx", shape=("n", 192))
    own(tmp_path / "two.onnx")
    path = str(tmp_path / file)
    with pytest.raises(UserError) as caught:
        Nsfw.ready(path)
    assert says in str(caught.value)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_graphics_card_that_is_not_there_is_one_line() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is one")
    with pytest.raises(UserError, match=r"nsfw\.device: cuda needs the package onnxruntime-gpu"):
        Nsfw.ready(device="cuda")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny image classifier as transformers saves one."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        id2label={0: "Normal", 1: "NSFW"},
        label2id={"Normal": 0, "NSFW": 1},
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    kind = getattr(transformers, "ViTImageProcessorPil", transformers.ViTImageProcessor)
    kind(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def test_a_checkpoint_of_transformers_is_asked_by_its_own_labels(checkpoint: Path) -> None:
    Nsfw.ready(str(checkpoint))
    classifier = Nsfw(str(checkpoint))
    several = pictures(3)
    scores = classifier.score([classifier.reader.read(picture) for picture in several])
    assert [list(one) for one in scores] == [["nsfw_normal", "nsfw_nsfw"]] * 3
    assert all(sum(one.values()) == pytest.approx(1, abs=1e-4) for one in scores)
    assert scores == [classifier.score([picture])[0] for picture in several]
    assert classifier.reader.side == 64


def test_a_checkpoint_that_will_not_do_is_one_line_before_any_work(checkpoint: Path, tmp_path: Path) -> None:
    weights = checkpoint / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors is no whole safetensors file") as caught:
        Nsfw.ready(str(checkpoint))
    assert "\n" not in str(caught.value)
    weights.unlink()
    with pytest.raises(UserError, match="has no weights"):
        Nsfw.ready(str(checkpoint))
    (checkpoint / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        Nsfw.ready(str(checkpoint))
    assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="cannot be loaded"):
        Nsfw.ready(str(tmp_path / "empty"))
