"""Who says no, case by case: a refusal in header or meta is heeded and named, everything else is no refusal; and the stage
that puts these and what others say together."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Consent
from pipeline.consent.finding import PAGE
from pipeline.consent.headers import directives, licences, refusal, said
from pipeline.consent.stage import ask_consent
from pipeline.document import Signal
from pipeline.fetch import Fetcher
from pipeline.signals import MAX_SIGNALS, MAX_VALUE, header_signals, page_signals
from pipeline.work import key64
from tests.documents import DATE, document, image, pieces, run_stage, write_verdicts
from tests.sites import LOOPBACK, Says, Sites

ALL = ["x_robots_tag", "meta_robots", "tdm_reservation", "content_usage"]
CONSENT = Consent(signals=["x_robots_tag", "meta_robots", "tdm_reservation", "content_usage"])

ROBOTS = [
    ("noai", True),
    ("noimageai", True),
    ("NoAI", True),
    ("  noai\t", True),
    ("noindex, noai", True),
    ("noindex,noimageai,nofollow", True),
    ("otherbot: noai", True),
    ("otherbot: noindex, noai", True),
    ("OtherBot:NOIMAGEAI", True),
    ("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", True),
    ("googlebot: unavailable_after: 25 Jun 2030 15:00:00 PST, noai", True),
    ("max-snippet: 20, noai", True),
    ("unavailable_after: 25 Jun 2030 15:00:00 PST", False),
    ("max-image-preview:large", False),
    ("noindex, nofollow", False),
    ("index, follow", False),
    ("none", False),
    ("ai", False),
    ("noaix", False),
    ("no-ai", False),
    ("see noai.example", False),
    ("", False),
    (",,:,", False),
    (":", False),
]


@pytest.mark.parametrize(("value", "no"), ROBOTS)
def test_a_robots_header_refuses_by_its_directives_whatever_robot_it_names(value: str, no: bool) -> None:
    answer = refusal(header_signals([("X-Robots-Tag", value)]), ALL)
    assert (answer is not None) == no
    if answer:
        rule, verdict = answer
        assert rule == "x_robots_tag"
        assert verdict == (False, f"header x-robots-tag: {value.strip()}", "no refusal")


@pytest.mark.parametrize(
    ("name", "value", "no"),
    [
        *(("robots", value, no) for value, no in ROBOTS),
        ("ROBOTS", "noai", True),
        (" robots ", "noai", True),
        ("googlebot", "noimageai", True),
        ("GPTBot", "noai", True),
        ("description", "noai", False),
        ("keywords", "noai, noimageai", False),
        ("robot", "noai", True),
        ("", "noai", False),
    ],
)
def test_a_robots_meta_refuses_like_the_header_for_any_robot(name: str, value: str, no: bool) -> None:
    answer = refusal(page_signals([], [(name, value)]), ALL)
    assert (answer is not None) == no
    if answer:
        assert answer[0] == "meta_robots"


@pytest.mark.parametrize(
    ("name", "value", "no"),
    [
        ("tdm-reservation", "1", True),
        ("TDM-Reservation", "1", True),
        ("tdm-reservation", " 1 ", True),
        ("tdm-reservation", "0", False),
        ("tdm-reservation", "", False),
        ("tdm-reservation", "true", False),
        ("tdm-reservation", "01", False),
        ("tdm-reservation", "1.0", False),
        ("tdm-reservation", "noai", False),
        ("tdm-policy", "https://example.com/policy.json", False),
        ("tdm", "1", False),
        ("x-tdm-reservation", "1", False),
    ],
)
@pytest.mark.parametrize("where", ["header", "meta"])
def test_a_reservation_of_text_and_data_mining_is_the_figure_one(where: str, name: str, value: str, no: bool) -> None:
    seen = page_signals([(name, value)], []) if where == "header" else page_signals([], [(name, value)])
    answer = refusal(seen, ALL)
    assert (answer is not None) == no
    if answer:
        assert answer[0] == "tdm_reservation"
        assert answer[1].value == f"{where} tdm-reservation: 1"


@pytest.mark.parametrize(
    ("headers", "metas", "no"),
    [
        ("1", "0", False),  # later overrides earlier: header, then meta
        ("0", "1", True),
        ("1", "perhaps", True),  # which is as if it were not there
        ("perhaps", "0", False),
        ("1", "", True),
        ("0", "0", False),
        ("perhaps", "maybe", False),
        ("1", "1", True),
    ],
)
def test_a_meta_reservation_overrides_that_of_the_header(headers: str, metas: str, no: bool) -> None:
    seen = page_signals([("TDM-Reservation", headers)], [("tdm-reservation", metas)])
    assert (refusal(seen, ALL) is not None) == no


def test_of_two_reservations_at_one_place_the_stricter_counts() -> None:
    for first, second in (("0", "1"), ("1", "0")):
        assert refusal(page_signals([], [("tdm-reservation", first), ("tdm-reservation", second)]), ALL) is not None


USAGES = [
    ("train-ai=n", "refused"),
    ("Train-AI=N", "refused"),
    ("train-ai=?0", "refused"),
    ("bots=n", "refused"),
    ("tdm=n", "refused"),
    ("ai=n", "refused"),
    ("genai=n", "refused"),
    ("train-genai=n", "refused"),
    ("search=y, train-ai=n;reason=x", "refused"),
    ("train-ai=y, train-ai=n", "refused"),  # RFC 9651: the last of two counts
    ('train-ai="n"', "refused"),
    ("bots=n, train-ai=y", "refused"),  # the most restrictive wins
    ("train-ai=y", "allowed"),
    ("train-ai", "allowed"),  # RFC 9651: a key alone is true
    ("search=n", None),
    ("", None),
    ("train-ai=", "not_checked"),
    ("train-ai: n", "not_checked"),
    ("train-ai=no", "not_checked"),
    ("train-ai=1", "not_checked"),
    ("n", None),
    ("train\u00e4=n", "not_checked"),
]


@pytest.mark.parametrize(("value", "says"), USAGES)
def test_content_usage_is_a_structured_dictionary(value: str, says: str | None) -> None:
    found = said(header_signals([("Content-Usage", value)]), ALL)
    assert [finding.says for finding in found] == ([says] if says else [])


LINKS = [
    ('<https://a.example/l.xml>; rel="license"; type="application/rsl+xml"', ["https://a.example/l.xml"]),
    ("<https://a.example/l.xml>; rel=license; type=application/rsl+xml", ["https://a.example/l.xml"]),
    ('<https://a.example/l.xml>;REL="License";TYPE="Application/RSL+XML"', ["https://a.example/l.xml"]),
    ('</s.css>; rel=preload, <https://a.example/l.xml>; type="application/rsl+xml"; rel="license"', ["https://a.example/l.xml"]),
    ('<https://a.example/l.xml>; rel="alternate license"; type="application/rsl+xml"', ["https://a.example/l.xml"]),
    ('<https://a.example/l.html>; rel="license"; type="text/html"', []),
    ('<https://a.example/l.xml>; rel="license"', []),
    ('<https://a.example/l.xml>; rel="next"; type="application/rsl+xml"', []),
    ('https://a.example/l.xml; rel="license"; type="application/rsl+xml"', []),
    ("<" * 4000 + "application/rsl+xml", []),
]  # fmt: skip


@pytest.mark.parametrize(("value", "urls"), LINKS)
def test_a_link_to_an_rsl_licence_is_found_and_not_checked_here(value: str, urls: list[str]) -> None:
    signals = header_signals([("Link", value)])
    assert licences(signals) == licences(signals, "https://b.example/page") == urls
    assert [(finding.says, finding.value) for finding in said(signals, ["rsl"])] == [
        ("not_checked", url) for url in urls
    ]
    assert said(signals, ALL) == []


def test_a_relative_link_is_one_of_the_page() -> None:
    signals = header_signals([("Link", "<../l.xml>; rel=license; type=application/rsl+xml")])
    assert licences(signals, "https://b.example/a/b/page") == ["https://b.example/a/l.xml"]


@pytest.mark.parametrize(
    ("value", "no"),
    [
        ("noindex", True), ("NoIndex, follow", True), ("noimageindex", True), ("bot: noindex", True), ("noai", True),
        ("index", False), ("nofollow", False), ("none", False), ("", False),
    ],
)  # fmt: skip
def test_noindex_counts_where_the_configuration_says_so(value: str, no: bool) -> None:
    for signals in (header_signals([("X-Robots-Tag", value)]), page_signals([], [("robots", value)])):
        assert (refusal(signals, [*ALL, "noindex"]) is not None) == no
        assert (refusal(signals, ALL) is not None) == (value == "noai")


def test_headers_are_read_as_servers_send_them() -> None:
    cases = [
        ([("X-Robots-Tag", "noai")], "x_robots_tag"),
        ([("x-robots-tag", "index"), ("X-ROBOTS-TAG", "otherbot: NoImageAI")], "x_robots_tag"),
        ([("TDM-RESERVATION", "1")], "tdm_reservation"),
        ([("content-usage", "train-ai=n")], "content_usage"),
        ([("Content-Usage", "search=y"), ("Content-Usage", "train-ai=n")], "content_usage"),
        ([("X-Robots", "noai")], None),
        ([("Content-Usage", "train-ai=y"), ("TDM-Reservation", "0"), ("X-Robots-Tag", "all")], None),
        ([], None),
    ]
    fetcher = Fetcher(user_agent="carnac-tests", max_bytes=1000, allowed_networks=LOOPBACK)
    with Sites() as sites:
        for number, (headers, rule) in enumerate(cases):
            sites.pages[f"127.0.0.1/{number}"] = Says("picture", headers=headers)
            answer = fetcher.get(f"{sites.origin(1)}/{number}", seconds=10)
            no = refusal(header_signals((name, str(value)) for name, value in answer.headers.items()), ALL)
            assert (no[0] if no else None) == rule, headers


SIGNALS = {
    "x_robots_tag": Signal("header", "x-robots-tag", "noai"),
    "meta_robots": Signal("meta", "robots", "noai"),
    "tdm_reservation": Signal("header", "tdm-reservation", "1"),
    "content_usage": Signal("header", "content-usage", "train-ai=n"),
}


@pytest.mark.parametrize("rule", SIGNALS)
def test_a_signal_counts_only_where_the_configuration_heeds_it(rule: str) -> None:
    answer = refusal([SIGNALS[rule]], [rule])
    assert answer is not None
    assert answer[0] == rule
    assert refusal([SIGNALS[rule]], [other for other in ALL if other != rule]) is None
    assert refusal([SIGNALS[rule]], []) is None


def test_a_page_that_says_nothing_refuses_nothing() -> None:
    assert refusal([], ALL) is None


def test_the_first_refusal_is_named_and_its_evidence_is_bounded() -> None:
    answer = refusal([Signal("header", "x-robots-tag", "index"), Signal("meta", "robots", "noai, " + "x" * 500)], ALL)
    assert answer is not None
    assert answer[0] == "meta_robots"
    assert len(str(answer[1].value)) == 200


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("NoIndex, NoAI", ["noindex", "noai"]),
        ("bot: noai", ["noai"]),
        ("unavailable_after: 1:2", ["unavailable_after: 1:2"]),
        ("bot: unavailable_after: 1:2", ["unavailable_after: 1:2"]),
        ("", [""]),
    ],
)
def test_directives_lose_the_name_of_a_robot_but_not_their_value(value: str, expected: list[str]) -> None:
    assert directives(value) == expected


def test_what_a_page_may_say_of_itself_is_bounded_and_other_headers_are_left() -> None:
    seen = page_signals([("X-Robots-Tag", "a" * 5000), ("Set-Cookie", "x"), ("Content-Usage", "train-ai=n")], [])
    assert [(signal.name, len(signal.value)) for signal in seen] == [("x-robots-tag", MAX_VALUE), ("content-usage", 10)]
    assert len(page_signals([("X-Robots-Tag", "noai")] * 999, [("robots", "noai")] * 999)) <= 2 * MAX_SIGNALS


def listed(tmp_path: Path, *rows: tuple[int, int, int]) -> tuple[str, ...]:
    """What the query says: row, position, and which name of the address stands on a list."""
    names = ("row", "position", "name")
    return write_verdicts(tmp_path / "listed", 0, [{"shard": 0, **dict(zip(names, row, strict=True))} for row in rows])


def told(tmp_path: Path, *findings: tuple[int, int, str, str]) -> tuple[str, ...]:
    """What hosts say: row, position, verdict, signal."""
    rows: list[dict[str, Any]] = [
        {"shard": 0, "row": row, "position": position, "url": "", "says": says, "signal": signal}
        | {"where": "http://host.example/robots.txt", "value": "disallows *", "when": datetime(2026, 3, 9)}
        for row, position, says, signal in findings
    ]
    return write_verdicts(tmp_path / "told", 0, rows)


def test_a_page_that_refuses_goes_and_the_ledger_names_the_signal(tmp_path: Path) -> None:
    pages = [
        document("text", image(), row=0, signals=[SIGNALS["x_robots_tag"]]),
        document("text", image(), row=1, signals=[SIGNALS["meta_robots"]]),
        document("text", image(), row=2, signals=[SIGNALS["tdm_reservation"]]),
        document("text", image(), row=3, signals=[Signal("meta", "robots", "noindex")]),
        document("text", image(), row=4, url="http://www.refuses.example/page"),
        document("text", image(), row=5, signals=[SIGNALS["content_usage"]]),
        document("text", image(), row=6),
    ]
    inputs = {"listed": listed(tmp_path, (4, PAGE, 2)), "hosts": told(tmp_path, (6, PAGE, "refused", "robots_txt"))}
    done = run_stage(ask_consent, CONSENT, pages, tmp_path, **inputs)
    assert [page.row for page in done.kept] == [3]
    assert [(line["row"], line["level"], line["rule"], line["value"]) for line in done.ledger] == [
        (0, "document", "x_robots_tag", "header x-robots-tag: noai"),
        (1, "document", "meta_robots", "meta robots: noai"),
        (2, "document", "tdm_reservation", "header tdm-reservation: 1"),
        (4, "document", "opt_out_list", "refuses.example"),
        (5, "document", "content_usage", "header content-usage: train-ai=n"),
        (6, "document", "robots_txt", "http://host.example/robots.txt: disallows *"),
    ]
    evidence = [(row["row"], row["position"], row["says"], row["signal"], row["where"]) for row in done.rows("consent")]
    assert evidence[0] == (0, PAGE, "refused", "x_robots_tag", "header x-robots-tag")
    assert evidence[-1] == (6, PAGE, "refused", "robots_txt", "http://host.example/robots.txt")
    assert [row["when"] for row in done.rows("consent")][-2:] == [DATE, datetime(2026, 3, 9, tzinfo=UTC)]


def test_the_signal_of_the_page_is_named_before_the_list(tmp_path: Path) -> None:
    pages = [document("text", image(), signals=[SIGNALS["meta_robots"]])]
    done = run_stage(ask_consent, CONSENT, pages, tmp_path, listed=listed(tmp_path, (0, PAGE, 1)))
    assert done.dropped == [("document", "meta_robots")]
    assert [row["signal"] for row in done.rows("consent")] == ["meta_robots", "opt_out_list"]  # both are evidence


def test_a_listed_image_goes_and_the_page_stays_with_the_others(tmp_path: Path) -> None:
    images = [image("http://refuses.example/1.png"), image("http://other.example/2.png")]
    page = document(images[0], "text", images[1])
    done = run_stage(ask_consent, Consent(), [page], tmp_path, listed=listed(tmp_path, (0, 0, 1)))
    assert [pieces(page) for page in done.kept] == [["text", "http://other.example/2.png"]]
    [line] = done.ledger
    assert (line["level"], line["rule"], line["position"]) == ("image", "opt_out_list", 0)
    assert (line["value"], line["bound"], line["excerpt"]) == ("refuses.example", "not listed", images[0].url)
    [wanted] = done.rows("wanted")
    assert wanted == {
        **{"shard": 0, "row": 0, "position": 2, "url_key": key64(images[1].url), "crawl_date": 1773144000},
        **{"host_key": key64("other.example"), "url": images[1].url},
    }


def test_a_page_whose_only_image_is_refused_goes_and_wants_none(tmp_path: Path) -> None:
    done = run_stage(ask_consent, Consent(), [document("text", image())], tmp_path, listed=listed(tmp_path, (0, 1, 0)))
    assert done.kept == []
    assert done.dropped == [("image", "opt_out_list"), ("document", "text_and_image")]
    assert done.rows("wanted") == []


def test_what_was_not_checked_is_kept_and_counted_unless_the_configuration_is_strict(tmp_path: Path) -> None:
    page = document(
        "text", image(), image("http://host.example/b.png"), signals=[Signal("header", "content-usage", "?")]
    )
    hosts = told(tmp_path, (0, PAGE, "not_checked", "robots_txt"), (0, 1, "not_checked", "robots_txt"))
    done = run_stage(ask_consent, CONSENT, [page], tmp_path / "open", hosts=hosts)
    assert len(done.kept) == 1
    assert done.receipt.notes["not_checked"] == {"content_usage": 1, "robots_txt": 2}
    assert {row["says"] for row in done.rows("consent")} == {"not_checked"}
    strict = CONSENT.model_copy(update={"strict": True})
    done = run_stage(ask_consent, strict, [page], tmp_path / "strict", hosts=hosts)
    assert done.kept == []
    [line] = done.ledger
    assert (line["rule"], line["bound"]) == ("content_usage", "checked")
    assert line["value"] == "not checked, header content-usage: ?"
    # A page that was checked, with an image that was not.
    done = run_stage(ask_consent, strict, [document("text", image(), image())], tmp_path / "image", hosts=told(
        tmp_path / "image", (0, 1, "not_checked", "spawning")
    ))  # fmt: skip
    assert done.dropped == [("image", "spawning")]


def test_a_refusal_counts_before_what_was_not_checked_and_before_what_was_allowed(tmp_path: Path) -> None:
    page = document("text", image(), signals=[Signal("header", "content-usage", "train-ai=y")])
    hosts = told(tmp_path, (0, PAGE, "not_checked", "ai_txt"), (0, PAGE, "refused", "rsl"))
    done = run_stage(ask_consent, CONSENT.model_copy(update={"strict": True}), [page], tmp_path, hosts=hosts)
    assert done.dropped == [("document", "rsl")]


@pytest.mark.parametrize(("own", "kept"), [([Signal("meta", "tdm-reservation", "0")], 1), ([], 0)])
def test_what_a_page_says_of_tdm_overrides_the_file_of_its_host(own: list[Signal], kept: int, tmp_path: Path) -> None:
    page = document("text", image(), signals=own)
    hosts = told(tmp_path, (0, PAGE, "refused", "tdm_reservation"))
    assert len(run_stage(ask_consent, CONSENT, [page], tmp_path, hosts=hosts).kept) == kept
