"""Copies of images: once in a document, everywhere by content, sets by content; each drop names the twin."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline import config
from pipeline.cli import main
from pipeline.config import Duplicates, NearImage
from pipeline.errors import UserError
from pipeline.explain import explain
from pipeline.hamming import words
from pipeline.image_duplicates import compare, drop_copies, hash_images, picture_key
from tests.conftest import ROOT
from tests.crawls import page, photo, prose, write_warc
from tests.documents import document, image, pieces, run_stage, write_verdicts

DRAW = np.random.default_rng(3)
ALL = {"image_repeated": True, "image_everywhere": {"max": 2}, "latest_image_set": True}


def settings(**near: Any) -> Duplicates:
    return Duplicates.model_validate({**ALL, "near_image": near})


def random_hash(bits: int = 256) -> str:
    """Half of its bits set, as those of a photograph."""
    chosen = DRAW.permutation(bits) < bits // 2
    return np.packbits(chosen).tobytes().hex()


def flipped(digits: str, bits: int) -> str:
    """So many bits changed, as many set as cleared."""
    value = np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8))
    changed = [DRAW.choice(np.flatnonzero(value == old), bits // 2, replace=False) for old in (0, 1)]
    value[np.concatenate(changed)] ^= 1
    return np.packbits(value).tobytes().hex()


A = random_hash()


def shown(number: int, pdq: str | None, phash: str | None = None, sha256: str | None = None) -> Any:
    known = {"pdq": pdq, "phash": phash, "sha256": sha256 or f"{number:064x}"}
    return image(f"http://host.example/{number}.png", **known)


def test_a_copy_within_the_distance_goes_for_the_first_and_one_beyond_stays(tmp_path: Path) -> None:
    made = document(shown(1, A), "text", shown(2, flipped(A, 30)), shown(3, flipped(A, 32)))
    done = run_stage(drop_copies, settings(), [made], tmp_path)
    assert [pieces(page) for page in done.kept] == [["http://host.example/1.png", "text", "http://host.example/3.png"]]
    [line] = done.ledger
    assert (line["level"], line["rule"], line["position"]) == ("image", "image_repeated", 2)
    assert (line["value"], line["bound"]) == ("0:0:0, 30 bits apart", "once in a document, copies within 31 bits")


def test_of_several_images_before_the_nearest_is_the_twin(tmp_path: Path) -> None:
    other = flipped(A, 40)
    made = document(shown(1, A), shown(2, other), "text", shown(3, flipped(other, 2)))
    [line] = run_stage(drop_copies, settings(), [made], tmp_path).ledger
    assert line["value"] == "0:0:1, 2 bits apart"


def test_images_whose_hash_tells_nothing_are_copies_by_their_bytes_alone(tmp_path: Path) -> None:
    frame = "0" * 62 + "ff"
    made = document(
        shown(1, None), shown(2, None), shown(3, frame), shown(4, frame), "text", shown(5, None, sha256=f"{1:064x}")
    )
    done = run_stage(drop_copies, settings(), [made], tmp_path)
    assert [(line["position"], line["value"]) for line in done.ledger] == [(5, "0:0:0, 0 bits apart")]


def test_by_sha256_a_copy_has_the_same_bytes_and_a_near_one_stays(tmp_path: Path) -> None:
    made = document(shown(1, A), shown(2, A), "text", shown(3, A, sha256=f"{1:064x}"))
    done = run_stage(drop_copies, settings(hash="sha256"), [made], tmp_path)
    assert [line["position"] for line in done.ledger] == [3]


def told(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    first = dict(zip(("h0", "h1", "h2", "h3"), words([A])[0].view(np.int64).tolist(), strict=True))
    return [{"first_shard": 4, "first_row": 7, "first_position": 2, **first, **row} for row in rows]


def test_an_image_of_too_many_pages_goes_and_the_first_of_its_class_is_named(tmp_path: Path) -> None:
    near = flipped(A, 8)
    same = told(
        {"row": 0, "position": 0, "class": 5, "pages": 3},
        {"row": 1, "position": 0, "class": 6, "pages": 2},
    )
    pages = [document(shown(1, near), "text", shown(2, random_hash())), document(shown(3, near), "text", row=1)]
    done = run_stage(drop_copies, settings(), pages, tmp_path, classes=write_verdicts(tmp_path / "same", 0, same))
    assert [pieces(page)[0] for page in done.kept] == ["text", "http://host.example/3.png"]
    [line] = done.ledger
    assert (line["rule"], line["value"]) == ("image_everywhere", "on 3 pages, first 4:7:2, 8 bits apart")
    assert line["bound"] == "at most 2"


def test_a_document_left_without_images_goes(tmp_path: Path) -> None:
    same = told({"row": 0, "position": 1, "class": 5, "pages": 3})
    done = run_stage(
        drop_copies,
        settings(),
        [document("text", shown(1, A))],
        tmp_path,
        classes=write_verdicts(tmp_path / "s", 0, same),
    )
    assert done.dropped == [("image", "image_everywhere"), ("document", "text_and_image")]
    assert done.rows("sets") == []


def test_documents_with_pictures_of_the_same_classes_have_the_same_set(tmp_path: Path) -> None:
    near, other = flipped(A, 8), random_hash()
    same = told(
        {"row": 0, "position": 0, "class": 5, "pages": 2},
        {"row": 1, "position": 2, "class": 5, "pages": 2},
    )
    pages = [
        document(shown(1, A), "text", shown(2, other)),
        document(shown(3, other), "text", shown(4, near), row=1),
        document(shown(5, other), "text", row=2),
    ]
    sets = [
        row["key"]
        for row in run_stage(
            drop_copies, settings(), pages, tmp_path, classes=write_verdicts(tmp_path / "same", 0, same)
        ).rows("sets")
    ]
    assert sets[0] == sets[1] != sets[2]


def test_each_image_has_its_picture_and_each_picture_of_the_shard_its_bands_once(tmp_path: Path) -> None:
    near = NearImage(bands=3, bits=16)
    pages = [document(shown(1, A), "text", shown(2, None)), document(shown(3, A), "text", row=1)]
    done = run_stage(hash_images, near, pages, tmp_path)
    pictures = [row["picture"] for row in done.rows("images")]
    assert pictures == [picture_key(shown(1, A), "pdq"), picture_key(shown(2, None), "pdq"), pictures[0]]
    assert [row["h0"] is None for row in done.rows("images")] == [False, True, False]
    assert [row["picture"] for row in done.rows("bands")] == 3 * [pictures[0]]
    assert (done.receipt.rows_in, done.receipt.rows_out) == (2, 2)


def test_no_bands_are_made_for_equal_bytes_alone(tmp_path: Path) -> None:
    assert run_stage(hash_images, NearImage(hash="sha256"), [document(shown(1, A))], tmp_path).rows("bands") == []


def meeting(*pictures: tuple[int, str], band: int = 9) -> list[dict[str, Any]]:
    names = ("h0", "h1", "h2", "h3")
    return [
        {
            "band_key": band,
            "picture": picture,
            **dict(zip(names, words([digits])[0].view(np.int64).tolist(), strict=True)),
        }
        for picture, digits in pictures
    ]


def edges(tmp_path: Path, rows: list[dict[str, Any]], near: NearImage | None = None) -> list[tuple[int, int]]:
    bands = write_verdicts(tmp_path / "bands", 0, rows)
    found = run_stage(compare, near or NearImage(), [], tmp_path, bands=bands).rows("edges")
    return [(row["child"], row["parent"]) for row in found]


def test_pictures_of_a_band_that_are_close_are_joined_once_and_strangers_are_not(tmp_path: Path) -> None:
    near = flipped(A, 20)
    rows = meeting((7, A), (-3, near), (8, random_hash())) + meeting((7, A), (-3, near), band=11)
    assert edges(tmp_path, rows) == [(7, -3)]


def test_two_hashes_of_one_key_cost_no_more_than_a_duplicate(tmp_path: Path) -> None:
    assert edges(tmp_path, meeting((7, A), (7, flipped(A, 2)), (8, A))) == [(8, 7)]


def test_in_a_crowded_band_copies_are_found_among_the_window_that_follows(tmp_path: Path) -> None:
    crowd = meeting(
        *((number, random_hash()) for number in range(300)), (1000, A), (1001, A[:-1] + f"{int(A[-1], 16) ^ 1:x}")
    )
    assert (1001, 1000) in edges(tmp_path, crowd, NearImage(window=3))


def test_a_part_without_bands_has_no_pairs(tmp_path: Path) -> None:
    assert run_stage(compare, NearImage(), [], tmp_path).rows("edges") == []


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        ("{hash: dhash}", "near_image.hash: input should be 'sha256', 'phash' or 'pdq', found 'dhash'"),
        ("{hash: pdq, distance: 63}", "near_image: distance: at most 62 bits of a pdq, found 63"),
        ("{hash: phash, distance: 31}", "near_image: distance: at most 12 bits of a phash, found 31"),
        ("{hash: sha256, distance: 1}", "near_image: distance: at most 0 bits of a sha256, found 1"),
        ("{hash: pdq, bits: 49}", "near_image.bits: input should be less than or equal to 48"),
        ("{hashes: pdq}", "near_image.hashes: unknown key, did you mean hash?"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(near: str, expected: str, tmp_path: Path) -> None:
    text = f"name: a\noutput: b\ninput: {{paths: [c]}}\nduplicates: {{image_repeated: true, near_image: {near}}}\n"
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        config.load(str(tmp_path / "c.yaml"))
    assert f"duplicates.{expected}" in str(error.value)


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ("duplicates: {near_image: {}}", "near_image decides nothing alone"),
        (
            "duplicates: {image_repeated: true, near_image: {}}\nimages: {scores: {hashes: false}}",
            "duplicates.near_image needs hashes: set images.scores.hashes",
        ),
    ],
)
def test_what_it_needs_is_asked_for(sections: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"name: a\noutput: b\ninput: {{paths: [c]}}\n{sections}\n")
    with pytest.raises(UserError, match=expected):
        config.load(str(tmp_path / "c.yaml"))


def test_the_distance_is_the_one_advised_for_the_hash() -> None:
    assert [NearImage(hash=kind).distance for kind in ("sha256", "phash", "pdq")] == [0, 6, 31]


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    """One photo on four hosts at other sizes and qualities, twice on the first page; a picture of its own on each; two
    pages with the same pictures at other addresses."""
    html = "text/html; charset=utf-8"
    for number in range(4):
        host = f"http://host{number}.example"
        shared = photo(1, (480 - 40 * number, 360 - 30 * number), 95 - 10 * number)
        own = photo(100 + number)
        names = ["/shared.jpg", "/own.jpg"] + ["/again.jpg"] * (number == 0)
        responses = [(f"{host}/page", html, page(prose(number), names)), (f"{host}/shared.jpg", "image/jpeg", shared)]
        responses += [
            (f"{host}/own.jpg", "image/jpeg", own),
            (f"{host}/again.jpg", "image/jpeg", photo(100, (240, 180))),
        ]
        if number == 3:
            responses += [
                (f"{host}/other", html, page(prose(9), ["/copy.jpg"])),
                (f"{host}/copy.jpg", "image/jpeg", photo(103, (300, 225), 50)),
            ]
        write_warc(tmp_path / "crawl" / f"{number}.warc.gz", responses)
    raw = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    raw |= {"name": "test", "output": str(tmp_path / "out"), "input": {"paths": [str(tmp_path / "crawl")]}}
    raw["consent"], raw["images"]["scores"] = {}, {}
    raw["image_rules"] = {}
    raw["extract"] = {"method": "obelics"}
    raw["duplicates"] = {**ALL, "image_everywhere": {"max": 3}, "near_image": {"hash": "pdq"}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def final(folder: Path) -> dict[str, list[str]]:
    files = sorted((folder / "stages" / "final").glob("*.documents.parquet"))
    rows = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
    return {row["url"]: [node["image"]["url"] for node in row["nodes"] if node["image"]] for row in rows}


@pytest.mark.parametrize("kind", ["pdq", "phash"])
def test_a_run_finds_copies_at_other_sizes_and_qualities(kind: str, crawl: Path, tmp_path: Path) -> None:
    assert main(["run", str(crawl), "--set", f"duplicates.near_image.hash={kind}"]) == 0
    left = final(tmp_path / "out")
    expected = {f"http://host{n}.example/page": [f"http://host{n}.example/own.jpg"] for n in range(3)}
    # The last host's two pages have one picture left each, and that is the same: the later page stays.
    assert left == expected | {"http://host3.example/other": ["http://host3.example/copy.jpg"]}
    lines = "\n".join(explain(tmp_path / "out", "http://host0.example/page"))
    assert (
        "image_everywhere: on 4 pages, first http://host0.example/shared.jpg of http://host0.example/page, 0 bits"
        in lines
    )
    assert "image_repeated: http://host0.example/own.jpg of http://host0.example/page, " in lines


def test_without_it_no_stage_of_it_is_run_and_with_it_no_image_is_fetched_again(crawl: Path, tmp_path: Path) -> None:
    raw = yaml.safe_load(crawl.read_text())
    near = raw["duplicates"].pop("near_image")
    crawl.write_text(yaml.safe_dump(raw))
    assert main(["run", str(crawl)]) == 0
    stages = tmp_path / "out" / "stages"
    assert not {"image_keys", "near_image", "unique_images"} & {path.name for path in stages.iterdir()}
    assert len(final(tmp_path / "out")["http://host0.example/page"]) == 3
    seen = {path: path.stat().st_mtime_ns for path in (stages / "images").iterdir()}
    crawl.write_text(yaml.safe_dump(raw | {"duplicates": {**raw["duplicates"], "near_image": near}}))
    assert main(["run", str(crawl)]) == 0
    assert {path: path.stat().st_mtime_ns for path in (stages / "images").iterdir()} == seen
    assert len(final(tmp_path / "out")["http://host0.example/page"]) == 1


def test_equal_bytes_at_other_addresses_are_one_image(crawl: Path, tmp_path: Path) -> None:
    (tmp_path / "crawl").rename(tmp_path / "old")
    html = "text/html; charset=utf-8"
    for number in range(2):
        host = f"http://host{number}.example"
        names = ["/a.jpg", "/b.jpg"]
        responses = [(f"{host}/page", html, page(prose(number), names))]
        responses += [(f"{host}{name}", "image/jpeg", photo(1)) for name in names]
        write_warc(tmp_path / "crawl" / f"{number}.warc.gz", responses)
    assert main(["run", str(crawl), "--set", "duplicates.near_image={hash: sha256}"]) == 0
    assert final(tmp_path / "out") == {"http://host1.example/page": ["http://host1.example/a.jpg"]}
