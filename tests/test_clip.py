"""Scores by a CLIP of one's own, here a tiny one with random weights: likeness to the texts beside, and beauty."""

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from filters.likeness import aesthetic, clip_similarity
from filters.verdict import Verdict
from pipeline.document import END_OF_DOCUMENT, Document, Image, Node
from pipeline.errors import UserError
from pipeline.models.clip import Aesthetic, Array, Clip, neighbours
from pipeline.pixels import Facts, look

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROJECTION = 8


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CLIP as transformers saves one: images of 32 pixels, 12 tokens, one word of the vocabulary a token."""
    folder = tmp_path_factory.mktemp("clip")
    words = ["<|startoftext|>", "<|endoftext|>", "<unk>", "a", "cat", "on", "the", "mat", "dog", "ran", "http"]
    tokenizers = pytest.importorskip("tokenizers")
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: n for n, word in enumerate(words)}, "<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", 0), ("<|endoftext|>", 1)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<unk>",
        pad_token="<|endoftext|>",
    ).save_pretrained(folder)
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": 11, "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = transformers.CLIPConfig(
        text_config=tiny | text,
        vision_config=tiny | {"image_size": 32, "patch_size": 16},
        projection_dim=PROJECTION,
    )
    torch.manual_seed(0)
    model = transformers.CLIPModel(config)
    for parameter in model.parameters():  # as drawn, its answers hardly depend on what is asked
        parameter.data.normal_(0, 0.3)
    model.save_pretrained(folder)
    kind = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    kind(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("head") / "head.pth"
    torch.manual_seed(1)
    torch.save(torch.nn.Linear(PROJECTION, 1).state_dict(), path)
    return str(path)


def pixels(clip: Clip | Aesthetic, count: int) -> list[Array]:
    """Pictures as the reader makes them of their bytes."""
    made = []
    for seed in range(count):
        coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
        out = io.BytesIO()
        Pillow.fromarray(coarse).resize((300, 200 + seed)).save(out, "JPEG")
        facts = look(out.getvalue(), max_bytes=10**7, max_pixels=10**7, seconds=10, readers=[clip.reader])
        assert isinstance(facts, Facts)
        made.append(facts.read[clip.reader.name])
    return made


def likeness(clip: Clip, texts: Sequence[str]) -> float:
    return clip.score(pixels(clip, 1), [texts])[0]["clip_similarity"]


def test_a_picture_is_as_like_as_the_better_text_beside_it(checkpoint: str) -> None:
    clip = Clip(checkpoint)
    one, other = likeness(clip, ["a cat"]), likeness(clip, ["the dog ran"])
    assert one != other
    assert -1 <= one <= 1
    assert likeness(clip, ["a cat", "the dog ran"]) == max(one, other)


def test_likeness_is_the_model_s_own(checkpoint: str) -> None:
    clip = Clip(checkpoint)
    model = transformers.CLIPModel.from_pretrained(checkpoint).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(checkpoint)(["a cat on the mat"], return_tensors="pt")
    with torch.inference_mode():
        answer = model(tokens.input_ids, torch.from_numpy(pixels(clip, 1)[0])[None], tokens.attention_mask)
        expected = float(answer.logits_per_image / model.logit_scale.exp())
    assert likeness(clip, ["a cat on the mat"]) == pytest.approx(expected, abs=1e-3)


def test_each_picture_has_its_own_texts_and_one_without_has_no_score(checkpoint: str) -> None:
    clip = Clip(checkpoint)
    three = pixels(clip, 3)
    scores = clip.score(three, [["a cat"], [], ["the dog", "a cat"]])
    assert [list(one) for one in scores] == [["clip_similarity"], [], ["clip_similarity"]]
    assert scores[2] == clip.score(three[2:], [["the dog", "a cat"]])[0]
    assert clip.score(three, [[], [], []]) == [{}, {}, {}]
    assert clip.score([], []) == []


@pytest.mark.parametrize(
    "text",
    ["cat " * 500_000, "x" * 1_000_000, "", "\ud800 cat", "\0", "http://127.0.0.1:9/cat.jpg", "🐈" * 1000],
    ids=["long", "one word", "empty", "lone surrogate", "nul", "address", "emoji"],
)
def test_text_of_any_kind_is_cut_to_what_the_model_reads(checkpoint: str, text: str) -> None:
    """And an address in it is text: nothing is fetched."""
    assert -1 <= likeness(Clip(checkpoint), [text]) <= 1


def test_a_very_long_picture_stays_small(checkpoint: str) -> None:
    read = Clip(checkpoint).reader.read
    assert read(Pillow.new("RGB", (20_000, 3))).shape == (3, 32, 32)
    assert read(Pillow.new("RGB", (3, 20_000))).shape == (3, 32, 32)


def test_beauty_is_the_head_s_line_on_the_embedding(checkpoint: str, head: str) -> None:
    judge = Aesthetic(checkpoint, head)
    made = pixels(judge, 3)
    scores = [one["aesthetic"] for one in judge.score(made)]
    assert len(set(scores)) == 3
    model = transformers.CLIPModel.from_pretrained(checkpoint).eval()
    with torch.inference_mode():
        features = model.get_image_features(torch.from_numpy(np.stack(made)))
        features = getattr(features, "pooler_output", features)
        line = torch.nn.Linear(PROJECTION, 1)
        line.load_state_dict(torch.load(head, weights_only=True))
        expected = line(features / features.norm(dim=-1, keepdim=True))[:, 0].tolist()
    assert scores == pytest.approx(expected, abs=1e-3)
    assert judge.score([]) == []


def test_a_head_may_be_a_safetensors_file(checkpoint: str, head: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(torch.load(head, weights_only=True), tmp_path / "head.safetensors")
    made = pixels(Aesthetic(checkpoint, head), 1)
    assert Aesthetic(checkpoint, str(tmp_path / "head.safetensors")).score(made) == Aesthetic(checkpoint, head).score(
        made
    )


def test_a_checkpoint_or_head_that_will_not_do_is_one_line(checkpoint: str, head: str, tmp_path: Path) -> None:
    transformers.ViTConfig().save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (tmp_path / "cut.pth").write_bytes(Path(head).read_bytes()[:500])
    (tmp_path / "text.pth").write_text("hello")
    torch.save(torch.nn.Linear(5, 1).state_dict(), tmp_path / "five.pth")
    torch.save(torch.nn.Linear(5, 2).state_dict(), tmp_path / "two.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff\0\0\0\0\0\0\0{")
    wrong: list[tuple[Callable[[], None], str]] = [
        (lambda: Clip.ready(str(tmp_path / "none")), "there is no folder"),
        (lambda: Clip.ready(str(tmp_path / "vit")), "of the kind vit, expected clip"),
        (lambda: Aesthetic.ready(checkpoint, str(tmp_path / "none.pth")), "there is no file"),
        (lambda: Aesthetic.ready(checkpoint, str(tmp_path / "cut.pth")), "no whole file of weights"),
        (lambda: Aesthetic.ready(checkpoint, str(tmp_path / "text.pth")), "no whole file of weights"),
        (lambda: Aesthetic.ready(checkpoint, str(tmp_path / "cut.safetensors")), "no whole safetensors file"),
        (lambda: Aesthetic.ready(checkpoint, str(tmp_path / "five.pth")), "for embeddings of 5"),
        (lambda: Aesthetic.ready(checkpoint, str(tmp_path / "two.pth")), "no linear layer to one number"),
        (lambda: Aesthetic.ready(checkpoint, str(tmp_path / "list.pth")), "no linear layer to one number"),
    ]
    for ready, says in wrong:
        with pytest.raises(UserError, match=says) as caught:
            ready()
        assert "\n" not in str(caught.value)
    Clip.ready(checkpoint)
    Aesthetic.ready(checkpoint, head)


def test_the_texts_beside_an_image_are_the_nearest_of_its_part_of_the_page() -> None:
    image = Image("http://a/b.jpg", "b.jpg")
    values = ["zero", None, None, "three", END_OF_DOCUMENT, None, "six", None]
    # Positions as left by earlier stages: with gaps.
    nodes = [
        Node(10 * n, text=value) if value is not None else Node(10 * n, image=image) for n, value in enumerate(values)
    ]
    document = Document(0, 0, "http://a/", "w", 0, 0, datetime(2024, 1, 1, tzinfo=UTC), nodes)
    assert neighbours(document, 10) == ["zero", "three"]
    assert neighbours(document, 20) == ["zero", "three"]
    assert neighbours(document, 50) == ["six"]
    assert neighbours(document, 70) == ["six"]


@pytest.mark.parametrize(("rule", "name"), [(clip_similarity, "clip_similarity"), (aesthetic, "aesthetic")])
def test_an_image_below_the_least_score_or_without_one_goes(rule: object, name: str) -> None:
    assert callable(rule)

    def judged(**scores: float) -> object:
        return rule(Image("http://a/b.jpg", "b.jpg", scores=scores), min=0.2)

    assert judged(**{name: 0.2}) == Verdict(True, 0.2, "at least 0.2")
    assert judged(**{name: 0.19}) == Verdict(False, 0.19, "at least 0.2")
    assert judged() == Verdict(False, "not scored", "at least 0.2")
