"""Documents in, sequences out: nothing lost, nothing leaked between documents."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.idefics.processing_idefics import image_attention_mask_for_packed_input_ids_pt

from pipeline.document import END_OF_DOCUMENT
from pipeline.training import tokenizer
from pipeline.training.batch import collate
from pipeline.training.data import Document, Said
from pipeline.training.image_forms import Idefics, Idefics2, ImageForm, Pictures
from pipeline.training.packing import (
    IGNORED,
    NONE,
    Window,
    assemble,
    image_index,
    pack,
    picture_index,
    split,
    windows,
)
from pipeline.training.tokenizer import END_OF_UTTERANCE, FAKE, IMAGE, Vocabulary
from pipeline.training.trained import self_attention
from tests.training_shards import BOS, BYTES, EOS, PAD, F, I, window

FORM = Idefics(2, I)


def image(value: int = 0, pictures: int = 1) -> Pictures:
    return Pictures(np.full((pictures, 2, 2, 3), value % 256, dtype=np.uint8), np.full((pictures, 2), 2))


def text(ids: list[int]) -> str:
    """The text of byte tokens, with _ for each image and its surroundings left out."""
    return "".join("_" if i == I else bytes([i - 3]).decode("latin-1") for i in ids if i not in {PAD, BOS, EOS, F})


def cut(
    pieces: list[str | Said | Pictures],
    tokens: int = 64,
    images: int = 4,
    form: ImageForm = FORM,
    vocabulary: Vocabulary = BYTES,
    fake_label: bool = True,
) -> list[Window]:
    return list(windows(Document("key", pieces), vocabulary, form, tokens, images, fake_label=fake_label))


def test_an_image_stands_between_fake_tokens_and_neighbours_share_one() -> None:
    [found] = cut(["a", image(), image(), "b", image()])
    assert found.ids == [BOS, 3 + ord("a"), F, I, F, I, F, 3 + ord("b"), F, I, F, EOS]
    assert len(found.images) == 3


def test_the_end_of_document_mark_splits_and_each_part_begins_and_ends() -> None:
    found = cut([f"a {END_OF_DOCUMENT} b", image(), f"{END_OF_DOCUMENT}", "c", f"{END_OF_DOCUMENT}{END_OF_DOCUMENT}"])
    assert [text(w.ids) for w in found] == ["a", "b_", "c"]
    assert all(w.ids[0] == BOS and w.ids[-1] == EOS for w in found)


def test_texts_that_stand_together_are_joined_by_a_blank_line() -> None:
    assert split([" a ", "", "b", "  "]) == [["a\n\nb"]]


def test_a_document_without_text_gives_no_window() -> None:
    assert cut([image(), image()]) == cut([]) == cut(["  "]) == []


def test_text_that_spells_special_tokens_is_ordinary_text() -> None:
    words = tokenizer.learn(["the cat sat on the mat"] * 3, 300, 64)
    vocabulary = tokenizer.vocabulary(words)
    said = f"a {IMAGE} b {FAKE}{IMAGE}{FAKE} </s><s> <unk> https://example.org/a.png"
    ids = vocabulary.encode(said)
    assert max(ids) < vocabulary.size
    assert not {vocabulary.pad, vocabulary.bos, vocabulary.eos}.intersection(ids)
    assert words.decode(ids) == said


def test_the_tokenizer_is_the_same_each_time_and_takes_any_text() -> None:
    words = [tokenizer.learn((f"word{n} and more" for n in range(200)), 400, 64) for _ in range(2)]
    assert words[0].backend_tokenizer.to_str() == words[1].backend_tokenizer.to_str()
    strange = "\x00 é 漢字 \U0001f600 \u202e end"
    assert words[0].decode(tokenizer.vocabulary(words[0]).encode(strange)) == strange


pieces = st.lists(st.one_of(st.text("abc ", min_size=1, max_size=90), st.integers(0, 255)), max_size=12)


@settings(deadline=None, max_examples=150)
@given(pieces, st.integers(8, 40), st.integers(1, 3))
def test_windows_fit_and_hold_the_whole_document_in_order(drawn: list[str | int], tokens: int, images: int) -> None:
    document: list[str | Said | Pictures] = [piece if isinstance(piece, str) else image(piece) for piece in drawn]
    found = cut(document, tokens, images)
    for each in found:
        ids = each.ids
        assert len(ids) <= tokens
        assert len(each.images) == ids.count(I) <= images
        assert ids[0] == BOS
        assert all(ids[n - 1] == F == ids[n + 1] for n, i in enumerate(ids) if i == I)
    parts = [piece for part in split(document) for piece in part]
    assert "".join(text(w.ids) for w in found).replace("_", "") == "".join(p for p in parts if isinstance(p, str))
    in_order = iter([int(p.pixels[0, 0, 0, 0]) for p in parts if isinstance(p, Pictures)])
    kept = [int(i.pixels[0, 0, 0, 0]) for w in found for i in w.images]
    assert all(value in in_order for value in kept)  # all but those of windows without text


def test_a_long_document_is_cut_and_only_its_last_window_ends() -> None:
    found = cut(["x" * 100], tokens=40)
    assert [len(w.ids) for w in found] == [40, 40, 24]
    assert [w.ids[-1] == EOS for w in found] == [False, False, True]


def test_an_image_near_the_end_of_a_window_goes_with_the_text_about_it() -> None:
    first, second = cut(["x" * 36, image(), "y" * 30], tokens=40)
    assert (text(first.ids), text(second.ids)) == ("x" * 36, "_" + "y" * 30)
    [whole] = cut(["x" * 32, image(), "y"], tokens=40)  # all of it fits: no reason to cut
    assert text(whole.ids) == "x" * 32 + "_y"


def test_a_window_holds_no_more_images_than_a_sequence_may() -> None:
    found = cut([piece for n in range(7) for piece in (image(n), "text")], images=3)
    assert [len(w.images) for w in found] == [3, 3, 1]


def test_packing_is_best_fit_within_the_caps_and_loses_nothing() -> None:
    lengths = [30, 20, 20, 12, 10, 8]
    made = [window(str(n), [BOS] * length, [image()] * (n % 2)) for n, length in enumerate(lengths)]
    packed = pack(made, tokens=50, images=1)
    assert sorted(w.key for group in packed for w in group) == ["0", "1", "2", "3", "4", "5"]
    assert all(sum(len(w.ids) for w in g) <= 50 and sum(len(w.images) for w in g) <= 1 for g in packed)
    assert [[w.key for w in group] for group in packed] == [["0", "1"], ["2", "3", "4"], ["5"]]


def test_labels_leave_out_padding_beginnings_and_images() -> None:
    made = [window("a", [BOS, 10, F, I, F, 11, EOS], [image()]), window("b", [BOS, 12, EOS], [])]
    sequence = assemble(made, BYTES, 12)
    x = IGNORED
    assert sequence.labels.tolist() == [x, 10, F, x, F, 11, EOS, x, 12, EOS, x, x]
    assert sequence.document.tolist() == [0] * 7 + [1] * 3 + [NONE] * 2
    assert sequence.position.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 0, 0]
    assert sequence.input_ids.tolist()[-2:] == [PAD, PAD]
    assert (sequence.tokens, sequence.keys) == (10, ["a", "b"])
    [quiet] = cut(["a", image(), "b"], fake_label=False)
    assert F not in assemble([quiet], BYTES, 12).labels


TABLE = [BOS, 10, F, I, F, 10, EOS, BOS, 10, 10, F, I, F, 10, EOS, PAD, PAD]


def test_a_token_attends_the_latest_image_of_its_own_document() -> None:
    ids, document = np.array(TABLE), np.array([0] * 7 + [1] * 8 + [NONE] * 2)
    found = image_index(ids, document, I)
    assert found.tolist() == [-1, -1, -1, 0, 0, 0, 0, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1]


def test_the_image_index_is_that_of_the_stock_processor_on_whole_documents() -> None:
    class Tokenizer:
        eos_token_id = EOS

        def convert_tokens_to_ids(self, token: str) -> int:
            assert token == "<image>"
            return I

    drawn = np.random.default_rng(0)
    rows = []
    for _ in range(20):
        made: list[Window] = []
        while sum(len(w.ids) for w in made) < 150:
            parts: list[str | Said | Pictures] = ["t"]
            for choice in drawn.integers(0, 2, drawn.integers(1, 9)):
                parts.append(image() if choice else "tt")
            made += cut(parts, tokens=64, images=9)
        rows.append(assemble(made, BYTES, 256))
    ids = np.stack([row.input_ids for row in rows])
    theirs, _ = image_attention_mask_for_packed_input_ids_pt(torch.from_numpy(ids), Tokenizer())
    assert np.array_equal(image_index(ids, np.stack([row.document for row in rows]), I), theirs.numpy())


def test_a_cut_document_does_not_lend_its_images_to_the_next() -> None:
    made = [window("a", [BOS, F, I, F, 10], [image()]), window("b", [BOS, 11], [])]  # no </s> between them
    sequence = assemble(made, BYTES, 8)
    assert image_index(sequence.input_ids, sequence.document, I).tolist() == [-1, -1, 0, 0, 0, -1, -1, -1]


def test_self_attention_is_causal_within_a_document_and_no_row_is_empty() -> None:
    mask = self_attention(torch.tensor([[0, 0, 1, 1, 1, NONE, NONE]]), torch.float32)[0, 0] == 0
    expected = torch.zeros(7, 7, dtype=torch.bool)
    for start, end in ((0, 2), (2, 5), (5, 7)):
        expected[start:end, start:end] = torch.ones(end - start, end - start).tril().bool()
    assert torch.equal(mask, expected)
    assert mask.any(-1).all()


@pytest.mark.parametrize("held", [0, 2])
def test_a_batch_holds_only_images_that_are_there(held: int) -> None:
    made = [assemble([window("a", [BOS, *[F, I, F] * held, 10], [image(n) for n in range(held)])], BYTES, 16)]
    made.append(assemble([window("b", [BOS, 10], [])], BYTES, 16))
    batch = collate(made, BYTES, FORM)
    assert (batch.images, batch.places) == (held, max(1, held))
    assert batch.pixels.shape == (held, 2, 2, 3)
    assert batch.slots.tolist() == [[0, n] for n in range(held)]


@pytest.mark.parametrize("held", [0, 3])
def test_pictures_among_text_are_numbered_at_their_tokens(held: int) -> None:
    form = Idefics2(2, 1, 2, True, I, F)  # five pictures an image, two tokens a picture
    [found] = cut(["a", *[image(n, 5) for n in range(held)], "b"], tokens=80, form=form)
    batch = collate([assemble([found], BYTES, 80), assemble([], BYTES, 80)], BYTES, form)
    assert (batch.images, batch.places) == (5 * held, max(1, 5 * held))
    shown = batch.image[0][batch.input_ids[0] == I].tolist()
    assert shown == [place for place in range(5 * held) for _ in range(2)]
    assert (batch.image[0][batch.input_ids[0] != I] == NONE).all()
    assert batch.image[1].tolist() == [NONE] * 80
    assert np.array_equal(picture_index(batch.input_ids.numpy(), I, 2), batch.image.numpy())


def test_of_an_image_only_the_tokens_around_it_are_learned() -> None:
    form = Idefics2(2, 1, 2, True, I, F)
    [found] = cut(["a", image(0, 5), image(1, 5), "b"], form=form)
    learned = [i for i, known in zip(found.ids, found.learned, strict=True) if known]
    assert learned == [3 + ord("a"), F, F, F, 3 + ord("b"), EOS]
    assert found.ids.count(F) == 11


def test_of_a_dialogue_answers_alone_are_learned_to_the_letter() -> None:
    words = Vocabulary(BYTES.encode, 300, PAD, BOS, EOS, F, I, {END_OF_UTTERANCE: 302})
    end = Said(END_OF_UTTERANCE, learned=True, token=True)
    [found] = cut(
        [Said("User:"), image(), Said(" ask "), Said(" yes", learned=True), end, Said("\n")], vocabulary=words
    )
    assert bytes(i - 3 for i in found.ids if 2 < i < 300) == b"User: ask  yes\n"
    learned = [i for i, known in zip(found.ids, found.learned, strict=True) if known]
    assert learned == [*(3 + byte for byte in b" yes"), 302]
    assert cut([Said("User: nobody answers")], vocabulary=words) == []
