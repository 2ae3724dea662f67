"""Looking at the bytes of an image: facts where it decodes to its end, one reason where it does not."""

import hashlib
import io
import json
import resource
import signal
import struct
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps

from pipeline.pixels import HASHES, Broken, Facts, Reader, look, sniff

FORMATS = ["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"]


def see(data: bytes, *, max_bytes: int = 10**7, max_pixels: int = 10**8, seconds: float = 10) -> Facts | Broken:
    return look(data, max_bytes=max_bytes, max_pixels=max_pixels, seconds=seconds)


def reason(data: bytes, *, max_bytes: int = 10**7, max_pixels: int = 10**8, seconds: float = 10) -> str:
    answer = see(data, max_bytes=max_bytes, max_pixels=max_pixels, seconds=seconds)
    assert isinstance(answer, Broken), answer
    return answer.reason


def picture(width: int = 64, height: int = 48) -> Pillow.Image:
    return Pillow.linear_gradient("L").resize((width, height)).convert("RGB").rotate(30)


def encode(format: str, image: Pillow.Image | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    (image or picture()).save(out, format.upper(), **options)
    return out.getvalue()


def rotated(format: str, orientation: int) -> bytes:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    return encode(format, exif=exif)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(10**6))) + png_chunk(b"IEND", b"")


def webp_bomb() -> bytes:
    """A few bytes that announce a canvas of 16,383 x 16,383, which the decoder would allocate on opening."""
    size = (16_382).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + bytes(4) + size + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("format", FORMATS)
def test_the_facts_of_each_format_are_those_of_its_content(format: str) -> None:
    data = encode(format)
    assert sniff(data) == format
    assert see(data) == Facts(format, 64, 48, len(data), hashlib.sha256(data).hexdigest(), 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "avif"])
def test_width_and_height_are_those_after_exif_rotation(format: str, orientation: int) -> None:
    data = rotated(format, orientation)
    facts = see(data)
    with Pillow.open(io.BytesIO(data)) as image:
        shown = ImageOps.exif_transpose(image).size
    assert isinstance(facts, Facts)
    assert (facts.width, facts.height) == shown == ((64, 48) if orientation < 5 else (48, 64))


def test_a_damaged_exif_block_does_not_break_the_picture() -> None:
    data = encode("jpeg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40)
    assert isinstance(see(data), Facts)


@pytest.mark.parametrize("format", ["gif", "webp", "png"])
def test_an_animation_is_told_by_its_frames(format: str) -> None:
    frames = [picture().rotate(angle) for angle in (0, 20, 40)]
    facts = see(encode(format, frames[0], save_all=True, append_images=frames[1:]))
    assert isinstance(facts, Facts)
    assert (facts.frames, facts.width, facts.height) == (3, 64, 48)


def test_the_pages_of_a_tiff_are_no_animation() -> None:
    facts = see(encode("tiff", save_all=True, append_images=[picture()]))
    assert isinstance(facts, Facts)
    assert facts.frames == 2


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_file_is_broken_wherever_it_was_cut(format: str, share: float) -> None:
    data = encode(format, Pillow.effect_noise((64, 48), 80).convert("RGB"))
    assert reason(data[: int(len(data) * share)]) in {"truncated", "undecodable"}


def test_a_cut_jpeg_is_called_truncated() -> None:
    data = encode("jpeg")
    assert reason(data[: len(data) // 2 + 100]) == "truncated"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!doctype html><title>not here</title>",
        b"<!doctype html><p>An inline <svg/> makes no drawing of a page.",
        b"%PDF-1.7",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"GIF",
    ],
)
def test_what_is_no_raster_image_is_not_an_image(data: bytes) -> None:
    assert reason(data) == "not_an_image"


@pytest.mark.parametrize(
    "data",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b'<?xml version="1.0"?><svg/>',
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn by <hand> --><!DOCTYPE svg [<!ENTITY a "b">]><svg:svg width="9"/>',
        b'<svg><image href="file:///etc/passwd"/><image href="http://169.254.169.254/"/></svg>',
    ],
)
def test_a_drawing_is_told_apart_and_not_drawn(data: bytes) -> None:
    assert reason(data) == "svg"


def test_a_name_or_header_cannot_pass_another_format_off() -> None:
    assert reason(b"\xff\xd8\xff" + encode("png")) == "undecodable"
    assert reason(b"\x89PNG\r\n\x1a\n" + encode("jpeg")) == "undecodable"


def test_bytes_are_counted_before_anything_is_opened() -> None:
    data = encode("png")
    assert reason(data, max_bytes=len(data) - 1) == "too_many_bytes"
    assert isinstance(see(data, max_bytes=len(data)), Facts)


@pytest.mark.parametrize("format", FORMATS)
def test_the_pixel_bound_is_exact(format: str) -> None:
    data = encode(format)
    assert reason(data, max_pixels=64 * 48 - 1) == "too_many_pixels"
    assert isinstance(see(data, max_pixels=64 * 48), Facts)


def test_a_bomb_is_refused_by_its_header_at_once() -> None:
    gif = b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\x80\0\0" + bytes(6) + encode("gif")[19:]
    started = time.perf_counter()
    for data in (png_bomb(50_000, 50_000), gif, webp_bomb()):
        assert reason(data) == "too_many_pixels"
    assert time.perf_counter() - started < 1


def test_what_is_packed_beside_the_picture_is_bounded_too() -> None:
    """Profiles and texts of a PNG are compressed on their own: a few kilobytes can be a hundred megabytes."""
    data = encode("png")
    packed = zlib.compress(bytes(100_000_000), 9)
    for kind, head in ((b"iCCP", b"icc\0\0"), (b"zTXt", b"Comment\0\0"), (b"iTXt", b"Comment\0\1\0\0\0")):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = see(data[:33] + png_chunk(kind, head + packed) + data[33:])
        assert isinstance(answer, Facts) or answer.reason == "undecodable"
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize(
    "profile",
    [b"", b"no profile at all", bytes(100_000), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()],
)
def test_a_colour_profile_whole_or_damaged_leaves_the_facts_as_they_are(format: str, profile: bytes) -> None:
    with_profile, plain = see(encode(format, icc_profile=profile)), see(encode(format))
    assert isinstance(with_profile, Facts)
    assert isinstance(plain, Facts)
    assert (with_profile.width, with_profile.height) == (plain.width, plain.height)


@pytest.mark.parametrize("format", ["jpeg", "png", "gif"])
@pytest.mark.parametrize(
    "tail", [b"<script>alert(1)</script>", b"PK\x03\x04" + bytes(100), b"%PDF-1.7", b"\xff\xd8\xff"]
)
def test_a_file_that_is_an_image_and_something_else_is_the_image(format: str, tail: bytes) -> None:
    data = encode(format)
    facts = see(data + tail)
    assert isinstance(facts, Facts)
    assert (facts.format, facts.width, facts.height, facts.size) == (format, 64, 48, len(data) + len(tail))


@pytest.mark.parametrize(
    "data", [b"GIF89a=1;/*" + bytes(20) + b"*/alert(1)", b"BM<script>", b"\xff\xd8\xff<?php", b"RIFF____WEBP<html>"]
)
def test_a_signature_alone_makes_no_image(data: bytes) -> None:
    assert reason(data) in {"undecodable", "truncated"}


def test_the_frames_of_an_animation_share_one_pixel_bound() -> None:
    frames = [picture().rotate(angle) for angle in range(0, 100, 10)]
    data = encode("gif", frames[0], save_all=True, append_images=frames[1:])
    assert reason(data, max_pixels=64 * 48 * 10 - 1) == "too_many_pixels"
    assert isinstance(see(data, max_pixels=64 * 48 * 10), Facts)


def test_a_jpeg_of_very_many_scans_is_not_decoded() -> None:
    data = encode("jpeg", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    started = time.perf_counter()
    assert reason(data[:-2] + scan * 50_000 + data[-2:]) == "undecodable"
    assert time.perf_counter() - started < 1


def test_decoding_ends_at_its_deadline_and_leaves_an_earlier_alarm_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode("gif", save_all=True, append_images=[picture().rotate(a) for a in range(1, 200)])
    fired = []
    before = signal.signal(signal.SIGALRM, lambda *_: fired.append(time.monotonic()))
    outer = signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        assert reason(data, seconds=0.002) == "timed_out"
        until = time.monotonic() + 10
        while not fired and time.monotonic() < until:
            time.sleep(0.01)
        assert fired
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *outer)


def test_outside_the_main_thread_the_deadline_is_kept_between_frames() -> None:
    data = encode("gif", save_all=True, append_images=[picture().rotate(a) for a in range(1, 200)])
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(reason(data, seconds=0.002)))
    thread.start()
    thread.join(20)
    assert answers == ["timed_out"]


def test_a_png_whose_animation_is_damaged_is_its_static_picture() -> None:
    noise = [Pillow.effect_noise((64, 48), 80 + n).convert("RGB") for n in range(3)]
    png = bytearray(encode("png", noise[0], save_all=True, append_images=noise[1:]))
    sequence = png.rindex(b"fdAT") + 4
    png[sequence + 8 : sequence + 64] = bytes(56)
    facts = see(bytes(png))
    assert isinstance(facts, Facts)
    assert facts.frames == 1


def test_the_reason_reads_the_same_each_time() -> None:
    data = b"\x89PNG\r\n\x1a\n" + bytes(100)
    assert see(data) == see(data)
    assert "0x" not in str(see(data))


def pictures(data: bytes, *sides: int | None, shown: bool = True, seconds: float = 10) -> list[Pillow.Image]:
    """What readers that need these sides are handed."""
    readers = [Reader(str(n), side, lambda picture: picture, shown) for n, side in enumerate(sides)]
    facts = look(data, max_bytes=10**8, max_pixels=10**8, seconds=seconds, readers=readers)
    assert isinstance(facts, Facts)
    return list(facts.read.values())


@pytest.mark.parametrize(
    ("format", "modes"),
    {
        "jpeg": "RGB L CMYK",
        "png": "RGB L 1 P RGBA LA I;16",
        "webp": "RGB RGBA",
        "gif": "L P",
        "bmp": "RGB L 1 P",
        "tiff": "RGB L 1 P RGBA LA CMYK LAB I;16 I F",
        "avif": "RGB L RGBA",
    }.items(),
)
def test_a_reader_is_handed_rgb_whatever_the_image_holds(format: str, modes: str) -> None:
    depths = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    for mode in modes.split():
        wide = np.linspace(0, 65535, 64 * 48).reshape(48, 64)
        if mode in depths:
            made = Pillow.fromarray(wide.astype(depths[mode]))
        elif mode == "LAB":
            made = Pillow.merge("LAB", [picture().convert("L")] * 3)
        else:
            made = picture().convert(mode)
        for shown in (True, False):
            (handed,) = pictures(encode(format, made), None, shown=shown)
            assert (handed.mode, handed.size) == ("RGB", (64, 48))
            assert np.asarray(handed).std() > 20  # neither black nor white


def test_one_decode_serves_all_readers_at_the_largest_side_that_one_needs() -> None:
    data = encode("jpeg", picture(1200, 800))
    assert [one.size for one in pictures(data, 100)] == [(150, 100)]
    assert [one.size for one in pictures(data, 101)] == [(300, 200)]
    assert [one.size for one in pictures(data, 100, 400)] == [(600, 400)] * 2
    assert [one.size for one in pictures(data, 100, 401)] == [(1200, 800)] * 2
    assert [one.size for one in pictures(data, 100, None)] == [(1200, 800)] * 2
    assert [one.size for one in pictures(encode("png", picture(1200, 800)), 100)] == [(1200, 800)]


def test_the_facts_do_not_depend_on_who_reads() -> None:
    for format in FORMATS:
        data = rotated(format, 6) if format not in ("gif", "bmp") else encode(format)
        facts = look(
            data, max_bytes=10**7, max_pixels=10**7, seconds=10, readers=[Reader("all", None, Pillow.Image.copy)]
        )
        assert facts == see(data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_shown_or_left_as_stored(orientation: int) -> None:
    data = rotated("jpeg", orientation)
    with Pillow.open(io.BytesIO(data)) as image:
        assert pictures(data, None)[0].tobytes() == ImageOps.exif_transpose(image).tobytes()
        assert pictures(data, None, shown=False)[0].tobytes() == image.tobytes()


def test_what_is_transparent_is_white_as_shown_and_its_own_colour_as_stored() -> None:
    data = encode("png", Pillow.new("RGBA", (4, 4), (10, 20, 30, 0)))
    assert pictures(data, None)[0].getpixel((0, 0)) == (255, 255, 255)
    assert pictures(data, None, shown=False)[0].getpixel((0, 0)) == (10, 20, 30)


def test_a_reader_sees_the_first_frame() -> None:
    frames = [Pillow.new("RGB", (64, 48), colour) for colour in ("red", "lime", "blue")]
    for format in ("gif", "webp", "png", "tiff"):
        handed = pictures(encode(format, frames[0], save_all=True, append_images=frames[1:]), None)[0]
        red, green, blue = np.asarray(handed)[0, 0]
        assert red > 250
        assert max(green, blue) < 5


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_cut_jpeg_is_broken_at_any_reduction(share: float) -> None:
    data = encode("jpeg", Pillow.effect_noise((800, 800), 80).convert("RGB"))
    for side in (1, 100, 400, None):
        readers = [Reader("picture", side, Pillow.Image.copy)]
        answer = look(data[: int(share * len(data))], max_bytes=10**7, max_pixels=10**7, seconds=10, readers=readers)
        assert isinstance(answer, Broken)


def test_a_reader_s_time_is_the_image_s_time() -> None:
    def slow(picture: Pillow.Image) -> None:
        while True:
            time.sleep(0.01)

    answer = look(encode("png"), max_bytes=10**7, max_pixels=10**7, seconds=0.2, readers=[Reader("slow", None, slow)])
    assert isinstance(answer, Broken)
    assert answer.reason == "timed_out"


def test_an_error_of_a_reader_is_not_the_image_s() -> None:
    def wrong(picture: Pillow.Image) -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        look(encode("png"), max_bytes=10**7, max_pixels=10**7, seconds=10, readers=[Reader("wrong", None, wrong)])


def test_hashes_are_facts_where_they_are_asked_for() -> None:
    data = encode("png", Pillow.effect_noise((300, 300), 100))
    facts = look(data, max_bytes=10**7, max_pixels=10**7, seconds=10, readers=[HASHES])
    plain = see(data)
    assert isinstance(facts, Facts)
    assert isinstance(plain, Facts)
    assert (len(facts.phash or ""), len(facts.pdq or ""), facts.read) == (16, 64, {})
    assert (plain.phash, plain.pdq) == (None, None)


@pytest.fixture(scope="module")
def shelf(material: Path) -> list[tuple[dict[str, str], Facts | Broken]]:
    folder = material / "images"
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    return [(row, see((folder / row["file"]).read_bytes(), max_bytes=2 * 10**7)) for row in rows]


@pytest.mark.material
def test_every_good_image_of_our_formats_gives_its_facts(shelf: list[tuple[dict[str, str], Facts | Broken]]) -> None:
    good = [(row, answer) for row, answer in shelf if row["kind"] == "good" and row["format"].lower() in FORMATS]
    assert len(good) == 584
    assert [(row["file"], answer) for row, answer in good if isinstance(answer, Broken)] == []
    assert [
        row["file"] for row, answer in good if isinstance(answer, Facts) and answer.format != row["format"].lower()
    ] == []


@pytest.mark.material
def test_icons_and_jpeg_2000_are_not_ours(shelf: list[tuple[dict[str, str], Facts | Broken]]) -> None:
    others = [answer for row, answer in shelf if row["kind"] == "good" and row["format"].lower() not in FORMATS]
    assert Counter(answer.reason for answer in others if isinstance(answer, Broken)) == {"not_an_image": 10}


@pytest.mark.material
def test_every_bad_image_is_broken(shelf: list[tuple[dict[str, str], Facts | Broken]]) -> None:
    bad = [answer for row, answer in shelf if row["kind"] == "bad"]
    assert len(bad) == 146
    assert [answer for answer in bad if isinstance(answer, Facts)] == []


@pytest.mark.material
def test_a_decoder_prints_nothing(material: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in sorted((material / "images").glob("bad-*.tif*")):
        see(path.read_bytes())
    assert capfd.readouterr() == ("", "")
