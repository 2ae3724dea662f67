"""Bits apart: counted right, met in bands as often as the formula says, and no crowd costs a square."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from pipeline.hamming import BITS, WORDS, apart, band_keys, close_pairs, telling, words
from pipeline.hashes import hashes
from tests.documents import image

DRAW = np.random.default_rng(5)


def random_hashes(count: int, kind: str = "pdq") -> list[str]:
    return [DRAW.bytes(BITS[kind] // 8).hex() for _ in range(count)]


def flipped(digits: str, bits: int) -> str:
    value = int(digits, 16)
    for bit in DRAW.choice(4 * len(digits), bits, replace=False):
        value ^= 1 << int(bit)
    return f"{value:0{len(digits)}x}"


@given(
    st.sampled_from(["phash", "pdq"]).flatmap(
        lambda kind: st.tuples(*2 * [st.binary(min_size=BITS[kind] // 8, max_size=BITS[kind] // 8)])
    )
)
def test_bits_apart_are_those_of_the_numbers(pair: tuple[bytes, bytes]) -> None:
    one, other = pair
    expected = (int(one.hex(), 16) ^ int(other.hex(), 16)).bit_count()
    assert apart(words([one.hex()]), words([other.hex()])).tolist() == [expected]


def test_no_hashes_are_no_rows() -> None:
    assert words([]).shape == (0, WORDS)
    assert band_keys(words([]), "pdq", 3, 20).shape == (0, 3)
    assert close_pairs(np.array([], np.int64), words([]), 31, 10)[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("kind", "bands", "bits"), [("pdq", 32, 20), ("phash", 32, 20), ("pdq", 3, 48), ("phash", 5, 1)]
)
def test_bands_hold_the_bits_that_they_name_and_no_other_band_has_their_keys(kind: str, bands: int, bits: int) -> None:
    made = words(random_hashes(50, kind))
    keys = band_keys(made, kind, bands, bits)
    assert keys.shape == (50, bands)
    assert (keys >> 48 == np.arange(bands)).all()
    assert (keys >> bits & ((1 << 48 - bits) - 1) == 0).all()
    assert (band_keys(made, kind, bands, bits) == keys).all()


def test_the_keys_of_a_hash_are_the_same_on_every_machine() -> None:
    assert band_keys(words(["0123456789abcdef" * 4]), "pdq", 2, 20).tolist() == [[876308, 281474977449120]]


@pytest.mark.parametrize(("kind", "distance"), [("pdq", 31), ("phash", 6)])
def test_close_hashes_meet_about_as_often_as_the_formula_says(kind: str, distance: int) -> None:
    originals = random_hashes(2000, kind)
    keys = band_keys(words(originals), kind, 32, 20)
    others = band_keys(words([flipped(digits, distance) for digits in originals]), kind, 32, 20)
    met = (keys == others).any(axis=1).mean()
    chance = 1 - (1 - (1 - distance / BITS[kind]) ** 20) ** 32
    assert met == pytest.approx(chance, abs=0.04)
    assert not (keys[1:] == keys[:-1]).all(axis=1).any()


def in_order(digits: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    return words(sorted(digits))


def test_pairs_within_the_distance_are_found_and_those_beyond_are_not() -> None:
    [base] = random_hashes(1)
    near, far = flipped(base, 31), flipped(base, 32)
    rows = in_order([base, near, far, *random_hashes(20)])
    pairs, compared = close_pairs(np.zeros(len(rows), np.int64), rows, 31, 1000)
    expected = [[i, j] for i in range(len(rows)) for j in range(i + 1, len(rows)) if apart(rows[i], rows[j]) <= 31]
    assert sorted(map(sorted, pairs.tolist())) == expected
    assert len(expected) >= 1
    assert compared == len(rows) * (len(rows) - 1) // 2


def test_rows_of_different_keys_are_not_compared() -> None:
    rows = np.repeat(words(random_hashes(1)), 4, axis=0)
    assert close_pairs(np.array([1, 1, 2, 3]), rows, 31, 10)[0].tolist() == [[0, 1]]


def test_a_crowded_key_costs_a_window_for_each_and_no_square() -> None:
    """Ten times as many rows take about ten times as long; a square would take a hundred times."""

    def seconds(count: int) -> float:
        rows = DRAW.integers(0, 2**63, (count, WORDS), np.int64).view(np.uint64)
        started = time.process_time()
        close_pairs(np.zeros(count, np.int64), rows, 31, 50)
        return time.process_time() - started

    seconds(1000)
    assert seconds(50_000) < 40 * max(seconds(5_000), 0.005)


def shown(picture: Pillow.Image) -> tuple[str | None, str | None]:
    phash, pdq = hashes(picture)
    known = image(phash=phash, pdq=pdq)
    return telling(known, "phash"), telling(known, "pdq")


def test_a_photograph_tells_and_stripes_frames_and_plain_colours_do_not() -> None:
    coarse = DRAW.integers(0, 256, (24, 24, 3), np.uint8)
    phash, pdq = shown(Pillow.fromarray(coarse).resize((300, 200), Pillow.Resampling.BICUBIC))
    assert (len(phash or ""), len(pdq or "")) == (16, 64)
    stripes = Pillow.fromarray(np.tile((np.arange(86) % 2 * 255).astype(np.uint8), (100, 1)))
    frame = Pillow.new("L", (300, 200), "white")
    frame.paste(0, (60, 40, 240, 160))
    half = Pillow.new("L", (200, 200), "white")
    half.paste(0, (0, 0, 100, 200))
    for plain in (stripes, frame, half, Pillow.new("L", (200, 200), "black")):
        assert shown(plain.convert("RGB")) == (None, None)


def test_an_image_that_was_not_hashed_tells_nothing() -> None:
    assert telling(image(), "pdq") is None
    assert telling(image(phash="f0f0f0f0f0f0f0f0"), "phash") is None
