"""The image stage: from the record of the crawl or from the web, with a reason for every image that is not had."""

import http.server
import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Consent, Images
from pipeline.digests import payload_digest
from pipeline.images import get_images
from pipeline.warc import Record, read
from pipeline.work import key64
from tests.crawls import picture, write_warc
from tests.documents import document, image, pieces, run_stage, write_verdicts

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


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        refused = self.path == "/refused.png"
        status = 404 if self.path == "/gone.png" else 200
        self.send_response(status)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(GOOD)))
        if refused:
            self.send_header("X-Robots-Tag", "noai")
        self.end_headers()
        self.wfile.write(GOOD)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the test says what was asked."""


@pytest.fixture
def web() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.skipif(importlib.util.find_spec("img2dataset") is None, reason="needs carnac[download]")
def test_the_web_is_asked_only_for_what_the_crawl_has_not(web: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    host = f"http://127.0.0.1:{web.server_port}"
    urls = [f"{host}/{name}.png" for name in ("held", "good", "gone", "refused")]
    found = records(tmp_path, (urls[0], picture(3)))
    verdicts = write_verdicts(tmp_path / "records", 0, [at(found[urls[0]], 0, 1)])
    page = document("Some text.", *(image(url) for url in urls), image(urls[1]))
    download = {"allowed_networks": ["127.0.0.1/32"], "retries": 0}
    settings = (
        Images.model_validate({"sources": ["crawl", "web"], "download": download}),
        Consent(signals=["x_robots_tag"]),
    )
    done = run_stage(get_images, settings, [page], tmp_path, records=verdicts)
    [kept] = done.kept
    assert pieces(kept) == ["Some text.", urls[0], urls[1], urls[1]]
    assert [row["bytes"] for row in done.rows("pixels")] == [picture(3), GOOD, GOOD]
    assert {(row["rule"], row["value"]) for row in done.ledger} == {
        ("image_missing", "gone: HTTP 404"),
        ("x_robots_tag", "header x-robots-tag: noai"),
    }
    assert sorted(web.asked) == ["/gone.png", "/good.png", "/refused.png"]  # type: ignore[attr-defined]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.skipif(importlib.util.find_spec("img2dataset") is None, reason="needs carnac[download]")
def test_a_private_address_is_not_asked(web: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    page = document("Some text.", image(f"http://127.0.0.1:{web.server_port}/good.png"))
    done = run_stage(get_images, (Images(sources=["web"]), Consent()), [page], tmp_path)
    assert done.ledger[0]["value"].startswith("refused_address")
    assert web.asked == []  # type: ignore[attr-defined]
