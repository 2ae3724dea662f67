"""The image stage: from the record of the crawl or from the web, with a reason for every image that is not had."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.answers import Answer, Answers
from pipeline.config import Consent, Images
from pipeline.digests import payload_digest
from pipeline.document import Hole
from pipeline.images import get_images
from pipeline.warc import Record, read
from pipeline.work import key64
from tests.crawls import picture, write_warc
from tests.documents import document, image, pieces, run_stage, write_verdicts
from tests.test_consent_embedded import SIGNED, packet, with_xmp

GOOD, SMALL = picture(1), picture(2, (80, 80))


def records(folder: Path, *bodies: tuple[str, bytes]) -> dict[str, dict[str, Any]]:
    """Writes image records; for each address the pointer to its record, as the query leaves it."""
    path = write_warc(folder / "0.warc.gz", [(url, "image/png", body) for url, body in bodies])
    return {
        record.url: {"warc": str(path), "record_offset": record.offset, "record_length": record.length}
        | {"revisit": False, "payload_key": key64(payload_digest(record).text)}
        for record in read(str(path))
        if isinstance(record, Record)
    }


def at(pointer: dict[str, Any], row: int, position: int) -> dict[str, Any]:
    return {"shard": 0, "row": row, "position": position, **pointer}


def test_an_image_is_read_from_its_record_and_its_facts_are_written_down(tmp_path: Path) -> None:
    urls = [f"http://host.example/{name}.png" for name in ("good", "small", "broken", "absent")]
    found = records(tmp_path, (urls[0], GOOD), (urls[1], SMALL), (urls[2], GOOD[:300]))
    verdicts = [at(found[url], 0, position) for position, url in enumerate(urls[:3], 1)]
    page = document("Some text.", *(image(url) for url in urls))
    settings = Images(), Consent()
    done = run_stage(get_images, settings, [page], tmp_path, records=write_verdicts(tmp_path / "records", 0, verdicts))
    [kept] = done.kept
    assert pieces(kept) == ["Some text.", urls[0], urls[1]]
    facts = kept.images[0]
    assert (facts.format, facts.width, facts.height, facts.size) == ("png", 200, 160, len(GOOD))
    assert {(row["rule"], row["value"]) for row in done.ledger} == {
        ("image_broken", "truncated"),
        ("image_missing", "not in the crawl"),
    }
    assert [(row["position"], row["bytes"]) for row in done.rows("pixels")] == [(1, GOOD), (2, SMALL)]


def test_an_image_that_refuses_in_its_own_bytes_goes_with_the_evidence(tmp_path: Path) -> None:
    names = {"mined": with_xmp("png", packet("DMI-PROHIBITED")), "signed": (SIGNED / "notAllowed.png").read_bytes()}
    names |= {"damaged": with_xmp("png", b"<x"), "open": with_xmp("png", packet("DMI-ALLOWED"))}
    urls = {name: f"http://host.example/{name}.png" for name in names}
    found = records(tmp_path, *((urls[name], body) for name, body in names.items()))
    verdicts = [at(found[url], 0, position) for position, url in enumerate(urls.values(), 1)]
    asked = write_verdicts(tmp_path / "records", 0, verdicts)
    page = document("Some text.", *(image(url) for url in urls.values()))
    for strict, kept in ((False, ["damaged", "open"]), (True, ["open"])):
        settings = Images(), Consent(signals=["c2pa", "iptc"], strict=strict)
        done = run_stage(get_images, settings, [page], tmp_path / str(strict), records=asked)
        assert pieces(done.kept[0]) == ["Some text.", *(urls[name] for name in kept)]
        assert [row["rule"] for row in done.ledger] == ["iptc", "c2pa", *(["iptc"] if strict else [])]
        evidence = [(row["position"], row["says"], row["signal"]) for row in done.rows("consent")]
        assert evidence == [(1, "refused", "iptc"), (2, "refused", "c2pa"), (3, "not_checked", "iptc")]
        assert done.receipt.notes["not_checked"] == {"iptc": 1}
    done = run_stage(get_images, (Images(), Consent()), [page], tmp_path / "none", records=asked)
    assert len(done.kept[0].images) == 4


def test_an_image_inside_of_its_address_is_asked_of_nobody(tmp_path: Path) -> None:
    page = document("Some text.", image("data:image/jpeg;base64," + base64.b64encode(GOOD).decode()), image("data:,x"))
    done = run_stage(get_images, (Images(), Consent()), [page], tmp_path)
    assert [row["bytes"] for row in done.rows("pixels")] == [GOOD]
    assert done.dropped == [("image", "image_broken")]


def test_an_image_that_is_gone_leaves_its_page_with_a_reason(tmp_path: Path) -> None:
    page = document("Some text.", image("http://host.example/absent.png"))
    done = run_stage(get_images, (Images(), Consent()), [page], tmp_path)
    assert pieces(done.kept[0]) == ["Some text."]
    assert done.dropped == [("image", "image_missing")]


def test_a_record_of_another_address_under_the_same_key_is_not_taken(tmp_path: Path) -> None:
    found = records(tmp_path, ("http://other.example/a.png", GOOD))
    verdicts = write_verdicts(tmp_path / "records", 0, [at(found["http://other.example/a.png"], 0, 1)])
    page = document("Some text.", image("http://host.example/a.png"))
    done = run_stage(get_images, (Images(), Consent()), [page], tmp_path, records=verdicts)
    assert done.dropped[0] == ("image", "image_missing")


def test_an_image_is_decoded_once_for_its_hashes_and_for_the_classifier(tmp_path: Path) -> None:
    found = records(tmp_path, ("http://host.example/a.png", GOOD))
    verdicts = write_verdicts(tmp_path / "records", 0, [at(found["http://host.example/a.png"], 0, 1)])
    settings = Images.model_validate({"scores": {"nsfw": {}}}), Consent()
    page = document("Some text.", image("http://host.example/a.png"))
    [kept] = run_stage(get_images, settings, [page], tmp_path, records=verdicts).kept
    [seen] = kept.images
    assert sorted(seen.scores) == ["nsfw_drawings", "nsfw_hentai", "nsfw_neutral", "nsfw_porn", "nsfw_sexy"]
    assert sum(seen.scores.values()) == pytest.approx(1, abs=1e-3)
    assert len(seen.phash or "") == 16


def answered(tmp_path: Path, *found: tuple[str, bytes | str]) -> tuple[str, ...]:
    """What the query leaves of answers of the web: images, or reasons, for the images of one document in their order."""
    rows = []
    with Answers(tmp_path / "stages" / "fetched" / "00000.answers") as answers:
        for number, (url, said) in enumerate(found):
            reason, body = (said, None) if isinstance(said, str) else ("ok", io.BytesIO(said))
            headers = [["x-robots-tag", "noai"]] if "says-no" in url else []
            answers.add(Answer(number, url, reason.partition(":")[0], reason.partition(": ")[2], headers=headers), body)
        answers.reopen()
        for number in range(len(found)):
            answer, place, size = answers.find(number) or (None, 0, 0)
            assert answer is not None
            row = {"reason": answer.reason, "detail": answer.detail, "headers": json.dumps(answer.headers)}
            rows.append(at({"part": 0, "place": place, "size": size} | row, 0, number + 1))
    return write_verdicts(tmp_path / "answers", 0, rows)


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    (tmp_path / "stages" / "fetched").mkdir(parents=True)
    return tmp_path


def test_an_image_of_the_web_is_read_from_its_answer_and_a_missing_one_leaves_a_typed_hole(fetched: Path) -> None:
    urls = [
        f"http://host.example/{name}" for name in ("good", "gone", "late", "refused", "says-no", "broken", "unasked")
    ]
    said: list[bytes | str] = [GOOD, "gone: HTTP 404", "timed_out: too late", "opted_out: tdm_reservation: header 1",
            GOOD, GOOD[:99]]  # fmt: skip
    answers = answered(fetched, *zip(urls, said, strict=False))
    page = document("Some text.", *(image(url) for url in urls))
    settings = Images(sources=["web"]), Consent(signals=["x_robots_tag", "tdm_reservation"])
    done = run_stage(get_images, settings, [page], fetched, answers=answers)
    [kept] = done.kept
    assert pieces(kept) == ["Some text.", urls[0]]
    assert [row["bytes"] for row in done.rows("pixels")] == [GOOD]
    assert [(row["rule"], row["value"]) for row in done.ledger] == [
        ("image_missing", "gone: HTTP 404"),
        ("image_missing", "timed_out: too late"),
        ("tdm_reservation", "header 1"),
        ("x_robots_tag", "header x-robots-tag: noai"),
        ("image_broken", "truncated"),
        ("image_missing", "not in the crawl"),
    ]
    assert kept.holes == [
        Hole(2, "gone", urls[1]),
        Hole(3, "timed_out", urls[2]),
        Hole(4, "tdm_reservation", None),  # who refused is not handed on by address
        Hole(5, "x_robots_tag", None),
        Hole(6, "truncated", urls[5]),
        Hole(7, "not in the crawl", urls[6]),
    ]
    assert done.receipt.reasons == {
        "image_broken": {"truncated": 1},
        "image_missing": {"gone": 1, "not in the crawl": 1, "timed_out": 1},
    }


@pytest.mark.parametrize(
    ("sources", "bytes_of"), [(["crawl", "web"], "crawl"), (["web", "crawl"], "web"), (["mirror", "crawl"], "web")]
)
def test_the_first_source_that_has_an_image_gives_it(sources: list[str], bytes_of: str, fetched: Path) -> None:
    url = "http://host.example/a.png"
    found = records(fetched, (url, picture(3)))
    verdicts = write_verdicts(fetched / "records", 0, [at(found[url], 0, 1)])
    answers = answered(fetched, (url, GOOD))
    images = Images.model_validate({"sources": sources, "mirror": {"address": "http://mirror.example/{url}"}})
    page = document("Some text.", image(url))
    done = run_stage(get_images, (images, Consent()), [page], fetched, records=verdicts, answers=answers)
    assert [row["bytes"] for row in done.rows("pixels")] == [{"crawl": picture(3), "web": GOOD}[bytes_of]]


def test_a_refusal_of_the_first_source_is_not_asked_around(fetched: Path) -> None:
    url = "http://host.example/a.png"
    found = records(fetched, (url, GOOD))
    verdicts = write_verdicts(fetched / "records", 0, [at(found[url], 0, 1)])
    answers = answered(fetched, (url, "opted_out: x_robots_tag: header x-robots-tag: noai"))
    page = document("Some text.", image(url))
    settings = Images(sources=["web", "crawl"]), Consent()
    done = run_stage(get_images, settings, [page], fetched, records=verdicts, answers=answers)
    assert done.dropped == [("image", "x_robots_tag")]
