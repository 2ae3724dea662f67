"""What hosts answer, on loopback where each address 127.0.0.N is a host: asked once, failing closed, and as of a date."""

import gzip
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Consent
from pipeline.consent.captures import index_captures
from pipeline.consent.finding import PAGE
from pipeline.consent.hosts import ask_hosts, weigh
from pipeline.job import perform
from pipeline.storage import read_rows
from pipeline.work import read_receipt
from tests.documents import DATE, job, write_verdicts
from tests.sites import LOOPBACK, Says, Sites

NO, YES = "User-agent: *\nDisallow: /", "User-agent: *\nAllow: /"
REQUESTS = {"allowed_networks": LOOPBACK, "seconds": 1.5}
ROBOTS = Consent.model_validate({"signals": ["robots_txt"], "robots": {"live": True}, "requests": REQUESTS})


def address(url: str, row: int = 0, licences: str = "", date: datetime = DATE) -> dict[str, Any]:
    """A row of the addresses by host, as the query leaves it."""
    origin = "/".join(url.split("/")[:3])
    place = {"shard": 0, "of_shard": 3, "row": row, "position": PAGE}
    return place | {"url": url, "origin": origin, "crawl_date": int(date.timestamp()), "licences": licences}


def stage(task: Any, settings: Any, folder: Path, **inputs: tuple[str, ...]) -> tuple[str, list[dict[str, Any]]]:
    """Runs a task for real; the prefix of what it left, and the rows of its one table."""
    wanted = job(task, settings, folder, 0, **inputs)
    perform(wanted)
    receipt = read_receipt(wanted.prefix)
    assert receipt is not None
    assert receipt.error is None, "\n".join(receipt.trace)
    [table] = receipt.tables
    return str(wanted.prefix), list(read_rows(Path(f"{wanted.prefix}.{table}.parquet")))


def weighed(
    folder: Path, settings: Consent, rows: list[dict[str, Any]], captures: Iterable[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """What is written of these addresses once their hosts were asked."""
    inputs = {"addresses": write_verdicts(folder / "addresses", 0, rows)}
    if captures := list(captures):
        inputs["captures"] = write_verdicts(folder / "captures", 0, captures)
    if settings.asks_hosts:
        prefix, _ = stage(ask_hosts, settings, folder, **inputs)
        inputs["answers"] = (prefix,)
    return stage(weigh, settings, folder, **inputs)[1]


def verdicts(rows: list[dict[str, Any]]) -> dict[int, tuple[str, str]]:
    return {row["row"]: (row["says"], row["signal"]) for row in rows}


LIVE: list[tuple[Says, str | None]] = [
    (Says(NO), "refused"),
    (Says(YES), None),
    (Says("User-agent: CCBot\nDisallow: /page"), "refused"),
    (Says("User-agent: Bingbot\nDisallow: /"), None),
    (Says("not found", status=404), None),
    (Says(status=410), None),
    (Says("forbidden", status=403), None),  # RFC 9309, 2.3.1.3: any 4xx is as if there were no file
    (Says("wait", status=429), "refused"),
    (Says("broken", status=500), "refused"),
    (Says("maintenance", status=503), "refused"),
    (Says(YES, wait=3), "refused"),  # no answer in time
    (Says("", status=200), None),
    (Says("<html>Disallow: /</html>"), None),
    (Says(gzip.compress(NO.encode()), headers=[("Content-Encoding", "gzip")]), "refused"),
    (Says(gzip.compress(NO.encode())[:20], headers=[("Content-Encoding", "gzip")]), "not_checked"),
    (Says(NO + "\n" + "# x\n" * 150_000), "refused"),  # more than 500 KiB, the first of which are read
    (Says("x" * 5_000_000), "not_checked"),
    (Says(status=302, headers=[("Location", "/moved.txt")]), "refused"),
    (Says(status=302, headers=[("Location", "/around")]), "not_checked"),
    (Says(status=302, headers=[("Location", "file:///etc/passwd")]), "not_checked"),
]


def test_a_robots_txt_that_is_asked_for_is_heeded_and_a_host_that_fails_is_taken_for_a_no(
    sites: Sites, tmp_path: Path
) -> None:
    rows = []
    for number, (says, _) in enumerate(LIVE, 2):
        sites.pages[f"127.0.0.{number}/robots.txt"] = says
        sites.pages[f"127.0.0.{number}/moved.txt"] = Says(NO)
        sites.pages[f"127.0.0.{number}/around"] = Says(status=302, headers=[("Location", "/around")])
        rows.append(address(f"{sites.origin(number)}/page", number))
    rows.append(address("http://127.0.0.1:9/page", 99))  # nobody listens
    found = verdicts(weighed(tmp_path, ROBOTS, rows))
    expected = {number: says for number, (_, says) in enumerate(LIVE, 2)} | {99: "refused"}
    assert {number: found.get(number, (None, ""))[0] for number in expected} == expected
    assert {signal for _, signal in found.values()} == {"robots_txt"}


def test_the_evidence_names_file_reason_and_time_and_the_place_that_it_is_for(sites: Sites, tmp_path: Path) -> None:
    sites.pages["127.0.0.2/robots.txt"] = Says(NO)
    before = datetime.now(UTC).replace(microsecond=0)
    [row] = weighed(tmp_path, ROBOTS, [address(f"{sites.origin(2)}/a", 7)])
    assert (row["shard"], row["row"], row["position"], row["url"]) == (3, 7, PAGE, f"{sites.origin(2)}/a")
    assert (row["where"], row["value"]) == (f"{sites.origin(2)}/robots.txt", "disallows *")
    assert before <= row["when"] <= datetime.now(UTC)


def test_a_private_host_is_not_asked_and_not_checked(sites: Sites, tmp_path: Path) -> None:
    settings = Consent.model_validate({"signals": ["robots_txt"], "robots": {"live": True}})
    rows = weighed(tmp_path, settings, [address(f"{sites.origin(2)}/a"), address("http://169.254.169.254/a", 1)])
    assert verdicts(rows) == {0: ("not_checked", "robots_txt"), 1: ("not_checked", "robots_txt")}
    assert not sites.asked


def test_a_host_is_asked_once_for_all_its_addresses_and_not_again_after_a_kill(sites: Sites, tmp_path: Path) -> None:
    for number in (2, 3):
        sites.pages[f"127.0.0.{number}/robots.txt"] = Says(YES)
    sites.pages["127.0.0.4/robots.txt"] = Says(status=503)
    rows = [address(f"{sites.origin(number)}/{row}", row) for number in (2, 3, 4) for row in range(20)]
    first = weighed(tmp_path, ROBOTS, rows)
    assert sites.asked == {f"127.0.0.{number}/robots.txt": 1 for number in (2, 3, 4)}
    # As if the receipt had never been written, and the last line of the journal only in part.
    journal = next(tmp_path.rglob("*.replies"))
    assert journal.read_bytes().count(b'"asked"') == 2
    with journal.open("ab") as file:
        file.write(b'[9,{"asked": "http://cut')
    sites.asked.clear()
    assert [row["says"] for row in weighed(tmp_path, ROBOTS, rows)] == [row["says"] for row in first]
    assert sites.asked == {"127.0.0.4/robots.txt": 1}  # what failed for the moment is asked again


AI_TXT: list[tuple[Says, str | None]] = [
    (Says("User-Agent: *\nDisallow: *.jpg"), "refused"),
    (Says("user-agent: *\ndisallow: /"), "refused"),
    (Says("User-Agent: GPTBot\nDisallow: *.jpg"), "refused"),
    (Says("User-Agent: *\nDisallow: *.png"), None),
    (Says("User-Agent: Bingbot\nDisallow: *.jpg"), None),
    (Says("Disallow: *.jpg"), None),
    (Says("<html>welcome</html>"), None),
    (Says(status=404), None),
    (Says(status=500), "not_checked"),
    (Says("User-Agent: *", wait=3), "not_checked"),
]


def test_an_ai_txt_at_the_root_of_the_host_is_heeded(sites: Sites, tmp_path: Path) -> None:
    settings = Consent.model_validate({"signals": ["ai_txt"], "ai_txt": {"live": True}, "requests": REQUESTS})
    rows = []
    for number, (says, _) in enumerate(AI_TXT, 2):
        sites.pages[f"127.0.0.{number}/ai.txt"] = says
        rows.append(address(f"{sites.origin(number)}/a/b.jpg", number))
    found = verdicts(weighed(tmp_path, settings, rows))
    expected = {number: (says, "ai_txt") for number, (_, says) in enumerate(AI_TXT, 2) if says}
    assert found == expected
    assert set(sites.asked.values()) == {1}


TDMREP: list[tuple[Says, str | None]] = [
    (Says('[{"location": "/a/*.jpg", "tdm-reservation": 1}]'), "refused"),
    (Says('[{"location": "/", "tdm-reservation": "1"}]'), "refused"),
    (Says('[{"location": "/", "tdm-reservation": 1}, {"location": "/a/", "tdm-reservation": 0}]'), None),
    (Says('[{"location": "/b", "tdm-reservation": 1}]'), None),
    (Says('[{"location": "/", "tdm-reservation": 2}]'), None),
    (Says("[]"), None),
    (Says(status=404), None),
    (Says("<html>welcome</html>"), "not_checked"),
    (Says('{"location": "/", "tdm-reservation": 1}'), "not_checked"),
    (Says(status=502), "not_checked"),
]


def test_a_tdmrep_file_is_heeded(sites: Sites, tmp_path: Path) -> None:
    settings = Consent.model_validate({"signals": ["tdm_reservation"], "tdmrep": {"live": True}, "requests": REQUESTS})
    rows = []
    for number, (says, _) in enumerate(TDMREP, 2):
        sites.pages[f"127.0.0.{number}/.well-known/tdmrep.json"] = says
        rows.append(address(f"{sites.origin(number)}/a/b.jpg", number))
    found = verdicts(weighed(tmp_path, settings, rows))
    assert found == {number: (says, "tdm_reservation") for number, (_, says) in enumerate(TDMREP, 2) if says}


def licence(uses: str, url: str = "/") -> str:
    return f'<rsl><content url="{url}"><license><prohibits type="usage">{uses}</prohibits></license></content></rsl>'


LICENCES: list[tuple[Says, str | None]] = [
    (Says(licence("ai-train")), "refused"),
    (Says(licence("all")), "refused"),
    (Says(licence("AI-ALL")), "refused"),
    (Says(licence("ai-train", "/a/")), "refused"),
    (Says(licence("ai-train", "/b/")), None),
    (Says(licence("search")), None),
    (Says("<html>"), "not_checked"),
    (Says('<!DOCTYPE r [<!ENTITY x "y">]><rsl/>'), "not_checked"),
    (Says(status=404), "not_checked"),  # somebody named it, and nobody knows what it says
    (Says(status=500), "not_checked"),
    (Says(licence("ai-train"), wait=3), "not_checked"),
]


@pytest.mark.parametrize("named_by", ["robots.txt", "header"])
def test_a_licence_that_robots_txt_or_a_header_names_is_read(named_by: str, sites: Sites, tmp_path: Path) -> None:
    settings = Consent.model_validate(
        {"signals": ["rsl"], "robots": {"live": named_by == "robots.txt"}, "rsl": {"live": True}, "requests": REQUESTS}
    )
    rows = []
    for number, (says, _) in enumerate(LICENCES, 2):
        url = f"{sites.origin(number)}/licence.xml"
        sites.pages[f"127.0.0.{number}/licence.xml"] = says
        sites.pages[f"127.0.0.{number}/robots.txt"] = Says(f"License: {url}\n{YES}")
        rows.append(address(f"{sites.origin(number)}/a/b.jpg", number, url if named_by == "header" else ""))
    found = verdicts(weighed(tmp_path, settings, rows))
    assert found == {number: (says, "rsl") for number, (_, says) in enumerate(LICENCES, 2) if says}
    assert {count for asked, count in sites.asked.items() if asked.endswith("licence.xml")} == {1}


def test_a_relative_licence_is_one_of_the_host(sites: Sites, tmp_path: Path) -> None:
    settings = Consent.model_validate(
        {"signals": ["rsl"], "robots": {"live": True}, "rsl": {"live": True}, "requests": REQUESTS}
    )
    sites.pages["127.0.0.2/robots.txt"] = Says("License: /l.xml")
    sites.pages["127.0.0.2/l.xml"] = Says(licence("ai-train"))
    assert verdicts(weighed(tmp_path, settings, [address(f"{sites.origin(2)}/a")])) == {0: ("refused", "rsl")}


def test_a_licence_is_not_fetched_from_a_private_network(sites: Sites, tmp_path: Path) -> None:
    requests = {"allowed_networks": ["127.0.0.2/32"], "seconds": 2}
    settings = Consent.model_validate(
        {"signals": ["rsl"], "robots": {"live": True}, "rsl": {"live": True}, "requests": requests}
    )
    sites.pages["127.0.0.2/robots.txt"] = Says(f"License: {sites.origin(3)}/l.xml\nLicense: file:///etc/passwd")
    rows = weighed(tmp_path, settings, [address(f"{sites.origin(2)}/a")])
    assert [(row["says"], row["where"]) for row in rows] == [
        ("not_checked", f"{sites.origin(3)}/l.xml"),
        ("not_checked", "file:///etc/passwd"),
    ]
    assert sites.asked == {"127.0.0.2/robots.txt": 1}


# Captures: a WARC file of robots.txt, as Common Crawl publishes them.


def warc(path: Path, *captures: tuple[str, str, str, str]) -> str:
    """Address, date, status with further headers, body."""
    with path.open("wb") as file:
        for url, date, status, body in captures:
            block = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n\r\n{body}".encode()
            head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: {date}\r\n"
            head += f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
            file.write(gzip.compress(head.encode() + block + b"\r\n\r\n", mtime=0))
    return str(path)


CAPTURED = Consent.model_validate(
    {"signals": ["robots_txt", "content_signal"], "robots": {"captures": ["robots.warc.gz"]}}
)
LOOP = [(f"https://i.example/{n}", "2026-03-09T12:00:00Z", f"302 Found\r\nLocation: /{n + 1}", "") for n in range(9)]


def indexed(tmp_path: Path, *captures: tuple[str, str, str, str]) -> list[dict[str, Any]]:
    path = warc(tmp_path / "robots.warc.gz", *captures)
    rows = stage(index_captures, CAPTURED, tmp_path, warc=(path,))[1]
    return [{"shard": 0, **row} for row in rows]


@pytest.mark.parametrize(
    ("url", "says", "told"),
    [
        ("https://a.example/page", "refused", "disallows *"),
        ("https://b.example/page", None, ""),
        ("https://c.example/page", None, ""),  # 404
        ("https://d.example/page", "refused", "HTTP 503"),
        ("https://e.example/page", "refused", "disallows *"),  # by way of a redirect
        ("https://f.example/page", "not_checked", "was not captured"),
        ("https://g.example/page", "not_checked", "no capture"),
        ("http://a.example/page", "not_checked", "no capture"),  # another scheme is another host (RFC 9309, 2.3)
        ("https://a.example:8443/page", "not_checked", "no capture"),
        ("https://h.example/page", "refused", "content-signal: ai-train=no"),
        ("https://i.example/page", "not_checked", "redirects"),
    ],
)
def test_captures_of_robots_txt_are_read_as_the_hosts_answered(
    url: str, says: str | None, told: str, tmp_path: Path
) -> None:
    date = "2026-03-09T12:00:00Z"
    captures = indexed(
        tmp_path,
        ("https://a.example/robots.txt", date, "200 OK", NO),
        ("https://b.example/robots.txt", date, "200 OK", YES),
        ("https://c.example/robots.txt", date, "404 Not Found", NO),
        ("https://d.example/robots.txt", date, "503 Busy", YES),
        ("https://e.example/robots.txt", date, "301 Moved\r\nLocation: https://www.e.example/robots.txt", ""),
        ("https://www.e.example/robots.txt", date, "301 Moved\r\nLocation: /real.txt", ""),
        ("https://www.e.example/real.txt", date, "200 OK", NO),
        ("https://f.example/robots.txt", date, "302 Found\r\nLocation: https://elsewhere.example/robots.txt", ""),
        ("https://h.example/robots.txt", date, "200 OK", "User-agent: *\nContent-Signal: ai-train=no"),
        ("https://i.example/robots.txt", date, "302 Found\r\nLocation: /0", ""),
        *LOOP,
    )
    found = weighed(tmp_path, CAPTURED, [address(url)], captures)
    assert max((row["says"] for row in found), default=None) == says  # "refused" comes after "not_checked"
    assert all(told in row["value"] for row in found)


def test_a_page_is_held_against_the_last_capture_before_it_or_the_first_after_it(tmp_path: Path) -> None:
    url = "https://a.example/robots.txt"
    captures = indexed(
        tmp_path,
        (url, "2026-03-09T12:00:00Z", "200 OK", NO),
        (url, "2026-03-12T12:00:00Z", "200 OK", NO),
        (url, "2026-03-07T12:00:00Z", "200 OK", "User-agent: GPTBot\nDisallow: /"),
        (url, "2026-03-08T12:00:00Z", "200 OK", YES),
    )
    dates = {1: "2026-03-07T13", 2: "2026-03-09T11", 3: "2026-03-09T12", 4: "2026-03-11T00", 5: "2026-01-01T00"}
    rows = [
        address("https://a.example/a", row, date=datetime.fromisoformat(f"{date}:00:00+00:00"))
        for row, date in dates.items()
    ]
    found = {row["row"]: row for row in weighed(tmp_path, CAPTURED, rows, captures)}
    assert {number: row["value"] for number, row in found.items()} == {
        1: "disallows GPTBot",
        3: "disallows *",
        4: "disallows *",
        5: "disallows GPTBot",
    }
    assert found[4]["where"] == "https://a.example/robots.txt captured"
    assert found[5]["where"] == "https://a.example/robots.txt captured after the page"
    assert found[3]["when"] == datetime(2026, 3, 9, 12, tzinfo=UTC)


def test_a_host_with_a_capture_is_not_asked(sites: Sites, tmp_path: Path) -> None:
    sites.pages["127.0.0.2/robots.txt"] = sites.pages["127.0.0.3/robots.txt"] = Says(NO)
    captures = indexed(tmp_path, (f"{sites.origin(2)}/robots.txt", "2026-03-09T12:00:00Z", "200 OK", YES))
    both = ROBOTS.model_copy(update={"robots": ROBOTS.robots.model_copy(update={"captures": ["robots.warc.gz"]})})
    rows = [address(f"{sites.origin(2)}/a", 2), address(f"{sites.origin(3)}/a", 3)]
    assert verdicts(weighed(tmp_path, both, rows, captures)) == {3: ("refused", "robots_txt")}
    assert sites.asked == {"127.0.0.3/robots.txt": 1}
