"""MinHash: the permutations are datasketch's, estimates are right, and what is alike shares bands."""

import itertools

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import NearDuplicate, Shingle
from pipeline.minhash import (
    band_keys,
    caught,
    curve,
    order_keys,
    shingles,
    signature,
    signature_key,
    similarity,
    stored,
)  # fmt: skip
from tests.crawls import prose

NEAR = NearDuplicate()
Signature = np.ndarray[tuple[int], np.dtype[np.uint32]]


def text(seed: int) -> str:
    return " ".join(prose(seed, 40))


def signed(text: str, near: NearDuplicate = NEAR) -> Signature:
    values = signature(text, near)
    assert values is not None
    return values


def estimate(one: str, other: str, near: NearDuplicate = NEAR) -> float:
    ours, theirs = (np.frombuffer(stored(signed(text, near)), "<u2") for text in (one, other))
    return float(similarity(ours, theirs))


def shared(one: str, other: str, near: NearDuplicate = NEAR) -> int:
    """How many bands two texts have in common."""
    pairs = zip(band_keys(signed(one, near), near), band_keys(signed(other, near), near), strict=True)
    return sum(a == b for a, b in pairs)


@pytest.mark.parametrize("words", [3, 100, 5000])
@pytest.mark.parametrize("seed", [1, 2])
def test_of_the_same_hashes_datasketch_makes_the_same_signature(words: int, seed: int) -> None:
    made = " ".join(f"word{number}" for number in range(words))
    reference = MinHash(num_perm=128, seed=seed, scheme="affine32", hashfunc=int)
    reference.update_batch(shingles(made, NEAR.shingle))
    assert signed(made, NearDuplicate(seed=seed)).tolist() == reference.hashvalues.tolist()


@pytest.mark.parametrize("shingle", [Shingle(words=1), Shingle(words=5), Shingle(characters=8)])
def test_estimates_are_right_in_the_mean_and_spread_as_theory_says(shingle: Shingle) -> None:
    """Over 300 pairs of a known Jaccard similarity; the standard error of one estimate is sqrt(s (1 - s) / 128)."""
    near = NearDuplicate(shingle=shingle)
    draw = np.random.default_rng(5)
    errors = []
    for _ in range(300):
        words = [f"w{number}" for number in draw.integers(0, 10**9, 240)]
        other = words[:180] + [f"w{number}" for number in draw.integers(0, 10**9, 60)]
        one, two = (set(shingles(" ".join(w), shingle).tolist()) for w in (words, other))
        true = len(one & two) / len(one | two)
        error = estimate(" ".join(words), " ".join(other), near) - true
        errors.append(error / np.sqrt(true * (1 - true) / 128))
    assert abs(np.mean(errors)) < 0.2  # 3.5 standard errors of the mean
    assert 0.85 < np.std(errors) < 1.15


def test_different_shingles_have_different_hashes() -> None:
    words = [f"{a}{b}" for a, b in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=2)]
    listed = " ".join(" ".join(pair) for pair in itertools.product(words[:100], words[100:200]))
    distinct = set(zip(said := listed.split(), said[1:], said[2:], strict=False))
    assert len(set(shingles(listed, Shingle(words=3)).tolist())) >= len(distinct) - 2  # of 2^32 values
    assert set(shingles("a b", Shingle(words=2))) != set(shingles("b a", Shingle(words=2)))
    assert set(shingles("ab", Shingle(characters=2))) != set(shingles("ba", Shingle(characters=2)))


def test_a_word_has_one_hash_wherever_it_stands() -> None:
    assert len(set(shingles("word " * 500, Shingle(words=1)).tolist())) == 1
    once = shingles("mill", Shingle(words=1))[0]
    assert once in shingles(f"{'x' * 999} mill {'y ' * 999}", Shingle(words=1))
    assert once not in shingles("mil l mills windmill", Shingle(words=1))


def test_case_and_white_space_make_no_difference() -> None:
    words = text(1).split()
    other = " ".join(words[:50]).upper() + "\n\t" + "  ".join(words[50:90]) + "\xa0" + " ".join(words[90:])
    for near in (NEAR, NearDuplicate(shingle=Shingle(characters=9))):
        assert shared(text(1), other, near) == 16
        assert estimate(text(1), other, near) == 1


def test_a_light_edit_leaves_most_bands_and_another_text_none() -> None:
    words = text(1).split()
    assert shared(text(1), " ".join([*words[:100], "suddenly", *words[100:]])) > 8
    assert shared("one two three four five six seven eight", "nine ten eleven twelve thirteen fourteen") == 0


def test_signatures_are_the_same_on_every_machine_and_others_for_another_seed() -> None:
    values = signed("the mill stands on the river bank")
    assert values[:2].tolist() == [1042631702, 266591059]
    assert band_keys(values, NEAR)[:2] == [-5027204617150081346, 825583953201452646]
    other = signed("the mill stands on the river bank", NearDuplicate(seed=2))
    assert not set(band_keys(values, NEAR)) & set(band_keys(other, NearDuplicate(seed=2)))


def test_a_text_shorter_than_a_shingle_has_a_signature_and_one_without_words_has_none() -> None:
    assert shared("two words", "two  words") == 16
    assert shared("two words", "two birds") == 0
    assert signature("", NEAR) is signature(" \n\xa0", NEAR) is None
    assert signature(" ", NearDuplicate(shingle=Shingle(characters=3))) is None
    assert len(signed("a \ud800 surrogate")) == 128


@given(st.text(max_size=200), st.sampled_from([Shingle(words=2), Shingle(characters=3)]))
def test_no_text_breaks_it(text: str, shingle: Shingle) -> None:
    values = signature(text, NearDuplicate(shingle=shingle))
    assert values is None or values.shape == (128,)


def test_bands_that_are_alike_at_another_place_have_other_keys() -> None:
    keys = band_keys(np.full(128, 7, np.uint32), NEAR)
    assert len(set(keys)) == 16


def test_signatures_that_differ_in_one_value_or_in_their_images_have_other_keys() -> None:
    values = signed(text(1))
    changed = values.copy()
    changed[5] += 1
    keys = [
        signature_key(values),
        signature_key(changed),
        signature_key(values, b"12345678"),
        signature_key(values, b"1"),
    ]
    assert len(set(keys)) == 4
    assert all(-(2**63) <= key < 2**63 for key in keys)


def test_in_the_order_of_a_band_like_signatures_are_neighbours() -> None:
    values = signed(text(1))
    like = values.copy()
    like[(8 + 3) % 128] += 1  # the last of the four values behind the first band
    strangers = [np.concatenate([values[:8], signed(text(seed))[8:]]) for seed in range(2, 40)]
    placed = sorted([values, like, *strangers], key=lambda s: order_keys(s, NEAR)[0] % 2**64)
    at = [next(i for i, found in enumerate(placed) if found is one) for one in (values, like)]
    assert abs(at[0] - at[1]) == 1


def test_the_curve_is_that_of_the_settings() -> None:
    assert caught(0.8, 16, 8) == pytest.approx(1 - (1 - 0.8**8) ** 16)
    lines = list(curve(NearDuplicate(permutations=64, bands=20, rows=3, similarity=0.5)))
    assert lines[0] == "20 bands of 3 rows, then at least 0.5 of 64 permutations alike"
    row = next(line.split() for line in lines if line.startswith("0.50"))
    assert float(row[1]) == pytest.approx(caught(0.5, 20, 3), abs=1e-4)
    assert 0.5 < float(row[2]) < 0.6  # half of the estimates are at least the truth
