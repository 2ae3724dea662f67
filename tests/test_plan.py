"""What a run will take: the sample is drawn by a seed, and what it says of the whole holds the truth within its spread."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline import config
from pipeline.cli import main
from pipeline.forecast import BETWEEN, Draws
from pipeline.pilot import Measured, add, draw
from pipeline.plan import kept_at
from pipeline.shards import Part, parts_of
from pipeline.warc import Record, read
from pipeline.work import Receipt
from tests.crawls import crawl, page, prose, write_warc
from tests.test_bad_input import refused
from tests.test_run import corpus_of, write_configuration

Figures = dict[str, dict[str, float]]
PRICES = {"core_hour": 0.04, "gpu_hour": 2.5, "gb_read": 0.0, "gb_month": 0.023, "thousand_requests": 0.0004}


def planned(capfd: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capfd.readouterr()
    assert main(["plan", *arguments, "--json"]) == 0
    found: dict[str, object] = json.loads(capfd.readouterr().out)
    return found


def figures(plan: dict[str, object]) -> Figures:
    assert isinstance(plan["figures"], dict)
    return plan["figures"]


def within(figure: dict[str, float], truth: float) -> bool:
    return figure["low"] <= truth <= figure["high"]


def test_a_crawl_that_is_drawn_whole_is_foretold_to_the_page_and_compared_with_its_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    crawl(tmp_path / "crawl", files=2, pages=3)
    path = write_configuration(tmp_path)
    plan = planned(capfd, str(path))
    assert not (tmp_path / "out").exists()
    for name in ("pages", "documents/documents", "documents/consent", "documents/final", "images wanted"):
        assert figures(plan)[name] == {"value": 6, "low": 6, "high": 6}, name
    assert figures(plan)["images of the crawl"]["value"] == 6
    assert "real" not in plan
    assert main(["run", str(path)]) == 0
    afterwards = planned(capfd, str(path))
    assert afterwards["figures"] == plan["figures"]  # the plan as it was made before, not one made anew
    done = afterwards["real"]
    assert isinstance(done, dict)
    assert (done["pages"], done["documents/final"], done["images of the crawl"]) == (6, 6, 6)
    assert done["GB corpus"] == pytest.approx(figures(plan)["GB corpus"]["value"], rel=0.01)
    assert done["core-hours"] > 0
    assert main(["plan", str(path)]) == 0
    assert "real" in capfd.readouterr().out


@pytest.mark.slow
def test_what_is_planned_changes_no_byte_of_the_corpus(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    crawl(tmp_path / "crawl", files=1, pages=2)
    path = write_configuration(tmp_path)
    assert main(["run", str(path)]) == 0
    before = corpus_of(tmp_path / "out")
    planned(capfd, str(path), "--set", "plan.cores=64")
    assert main(["run", str(path), "--set", "plan.prices.core_hour=1"]) == 0
    assert "Nothing to do" in capfd.readouterr().out
    assert corpus_of(tmp_path / "out") == before


@pytest.mark.slow
def test_a_sixth_of_a_crawl_foretells_the_rest_within_its_spread(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    crawl(tmp_path / "crawl", files=3, pages=40)  # 11 MB, nearly all of it pictures
    path = write_configuration(tmp_path, plan={"prices": PRICES, "cores": 8})
    plan = planned(capfd, str(path), "--seconds", "1")
    assert isinstance(plan["sample"], dict)
    assert 0.1 < plan["sample"]["share"] < 0.25
    said = figures(plan)
    for name in ("pages", "documents/text", "documents/consent", "documents/final", "images of the crawl"):
        assert within(said[name], 120), name
        assert said[name]["high"] < 400, name
    assert said["days"]["value"] == pytest.approx(said["core-hours"]["value"] / 8 / 24, rel=1e-4)
    parts = [said[name]["value"] for name in said if name.startswith("money/")]
    assert said["money"]["value"] == pytest.approx(sum(parts), rel=1e-4)
    assert said["money/core-hours"]["value"] == pytest.approx(0.04 * said["core-hours"]["value"], rel=1e-4)
    again = figures(planned(capfd, str(path), "--seconds", "1"))
    counted = [name for name in said if name.startswith(("pages", "documents/", "images"))]
    assert {name: again[name] for name in counted} == {name: said[name] for name in counted}


@pytest.mark.material
@pytest.mark.slow
def test_real_pages_are_foretold_within_the_spread(
    material: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_configuration(tmp_path, input={"paths": [str(material / "pages")]}, plan={"seconds": 5})
    plan = figures(planned(capfd, str(path)))
    assert main(["run", str(path)]) == 0
    done = planned(capfd, str(path))["real"]
    assert isinstance(done, dict)
    for name in ("pages", "documents/documents", "documents/text", "documents/score_rules", "documents/consent"):
        assert within(plan[name], done[name]), name
        assert plan[name]["high"] < 2.5 * plan[name]["low"], name
    assert within(plan["images wanted"], done["images wanted"])


def test_pieces_are_drawn_by_the_seed_and_hold_each_record_of_a_file_once(tmp_path: Path) -> None:
    crawl(tmp_path, files=2, pages=10)
    parts = parts_of(sorted(map(str, tmp_path.glob("*.warc.gz"))), 200 * 10**6)
    some, heads = draw(parts, 500_000, 1, tmp_path)
    assert heads == 0
    assert draw(parts, 500_000, 1, tmp_path)[0] == some
    assert draw(parts, 500_000, 2, tmp_path)[0] != some
    whole, _ = draw(parts, 10**9, 1, tmp_path)
    pieces, _ = draw(parts, 2_100_000, 1, tmp_path)
    assert sum(part.weight for part in whole) == sum(part.end for part in parts)
    assert len(pieces) > len(whole) == 2
    found = [item for part in pieces for _, item in part.items()]
    assert [item.url for item in found if isinstance(item, Record)] == [
        item.url for part in parts for item in read(part.path) if isinstance(item, Record)
    ]


def test_of_a_file_that_cannot_be_cut_the_beginning_is_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = crawl(tmp_path / "aside", files=1, pages=30) / "0.warc.gz"
    (tmp_path / "crawl").mkdir()
    whole = tmp_path / "crawl" / "whole.warc.gz"
    whole.write_bytes(gzip.compress(gzip.decompress(source.read_bytes()), 1, mtime=0))
    (head,), heads = draw([Part(str(whole), 0, whole.stat().st_size)], 10**6, 1, tmp_path)
    assert heads == 1
    [copied] = head.files
    assert whole.read_bytes().startswith(Path(copied).read_bytes())
    plan = planned(capfd, str(write_configuration(tmp_path)), "--seconds", "0.5")
    assert within(figures(plan)["pages"], 30)
    assert "one piece cannot tell how pieces differ" in str(plan["unknown"])
    assert "1 files that cannot be cut are judged by their beginnings" in str(plan["unknown"])


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of a thousand pieces, some of them much richer than others, thirty are drawn; the interval is one of 95 %."""
    held = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        pages = random.poisson(random.lognormal(2, 0.8, 1000)).astype(float)
        drawn = random.choice(1000, 30, replace=False)
        timed = np.ones(30, bool)
        measured = Measured(1000 * 10**6, 1, False, 1, np.full(30, 1e6), timed)
        low, high = np.percentile(Draws(measured, config.Plan(seed=seed)).counted(pages[drawn])[1:], BETWEEN)
        held += low <= pages.sum() <= high
    assert 0.87 <= held / 200 <= 0.99


def test_what_was_never_seen_is_not_foretold_to_be_nothing() -> None:
    measured = Measured(100 * 10**6, 1, False, 1, np.full(10, 1e6), np.ones(10, bool))
    never = Draws(measured, config.Plan()).counted(np.zeros(10))
    assert never[0] == 0
    assert 20 < np.percentile(never[1:], BETWEEN[1]) < 30


def test_images_of_the_web_are_told_not_to_have_been_tried(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_warc(
        tmp_path / "crawl" / "0.warc.gz",
        [(f"http://h{n}.example/", "text/html", page(prose(n), ["/a.png"])) for n in range(4)],
    )
    path = write_configuration(tmp_path, plan={"answered": [0.5, 0.5], "image_size": ["10 kB", "10 kB"]})
    plan = planned(capfd, str(path), "--set", "images.sources=[crawl, web]")
    assert "images of web were not tried: 50% to 50% of the addresses" in str(plan["unknown"])
    assert figures(plan)["requests, images"]["value"] == 4
    assert figures(plan)["images fetched"]["value"] == 2
    size = (tmp_path / "crawl" / "0.warc.gz").stat().st_size
    assert figures(plan)["GB read"]["value"] == pytest.approx((20_000 + size) / 10**9, rel=1e-4)
    assert figures(plan)["documents/final"] == {"value": 2, "low": 0, "high": 4}


def test_without_a_price_there_is_no_money_but_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    crawl(tmp_path / "crawl", files=1, pages=1)
    plan = planned(capfd, str(write_configuration(tmp_path)))
    assert not [name for name in figures(plan) if name.startswith("money")]
    assert "no price, so not in the money: core_hour, gpu_hour, gb_read, gb_month, thousand_requests" in str(plan)


@pytest.mark.slow
def test_a_plan_of_another_configuration_or_a_damaged_one_is_made_anew(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    crawl(tmp_path / "crawl", files=1, pages=2)
    path = write_configuration(tmp_path)
    assert main(["run", str(path)]) == 0
    place = kept_at(config.load(str(path)))
    place.write_text('{"of": "nothing"}')
    first = planned(capfd, str(path))
    assert json.loads(place.read_text())["of"] == first["of"]
    raw = yaml.safe_load(path.read_text())
    raw["text"]["document"]["number_of_words"]["max"] = 1
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    second = planned(capfd, str(path))
    assert second["of"] != first["of"]
    assert figures(second)["documents/text"]["value"] == 0


def test_a_piece_that_failed_counts_as_nothing_and_the_others_as_they_are() -> None:
    measured = Measured(3 * 10**6, 1, False, 1, np.full(3, 1e6), np.array([False, True, True]))
    receipts = [Receipt("text", n, "", rows_in=4, rows_out=3, processor=0.5) for n in range(2)]
    add(measured, "text", [*receipts, Receipt("text", 2, "", error="the worker died twice")])
    assert measured.rows_out["text"].tolist() == [3, 3, 0]
    assert measured.seconds["text"].tolist() == [0.5, 0.5, 0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("plan.second=1", "plan.second: unknown key, did you mean seconds?"),
        ("plan.prices.core=1", "plan.prices.core: unknown key, did you mean core_hour?"),
        ("plan.prices.core_hour=-1", "plan.prices.core_hour: "),
        ("plan.seconds=0", "plan.seconds: "),
        ("plan.seconds=.inf", "plan.seconds: "),
        ("plan.cores=0", "plan.cores: "),
        ("plan.answered=[0.9, 0.1]", "plan.answered: 0.9 to 0.1: the lower end comes first"),
        ("input.paths=[nowhere]", "input.paths: nowhere: no such file or folder"),
    ],
)
def test_a_wrong_plan_is_one_line(change: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    crawl(tmp_path / "crawl", files=1, pages=1)
    assert said in refused(capfd, "plan", str(write_configuration(tmp_path)), "--set", change)
    assert not kept_at(config.load(str(write_configuration(tmp_path)))).exists()


def test_an_empty_input_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "crawl").mkdir()
    path = write_configuration(tmp_path)
    assert "holds no file named" in refused(capfd, "plan", str(path))
    (tmp_path / "crawl" / "empty.warc.gz").touch()
    assert "empty.warc.gz" in refused(capfd, "plan", str(path))
