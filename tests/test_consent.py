"""Who says no, case by case: a refusal in header, meta or list is heeded and named, everything else is no refusal."""

from pathlib import Path

import pytest

from pipeline.config import Consent
from pipeline.consent import OptOutList, ask_consent, directives, refusal
from pipeline.document import Signal
from pipeline.errors import UserError
from pipeline.signals import MAX_SIGNALS, MAX_VALUE, header_signals, page_signals
from pipeline.work import key64
from tests.documents import document, image, pieces, run_stage

ALL = ["x_robots_tag", "meta_robots", "tdm_reservation"]
CONSENT = Consent(signals=["x_robots_tag", "meta_robots", "tdm_reservation"])

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


SIGNALS = {
    "x_robots_tag": Signal("header", "x-robots-tag", "noai"),
    "meta_robots": Signal("meta", "robots", "noai"),
    "tdm_reservation": Signal("header", "tdm-reservation", "1"),
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


def written(folder: Path, text: str) -> str:
    path = folder / "opt-out.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("line", "url", "found"),
    [
        ("example.com", "http://example.com/a", "example.com"),
        ("example.com", "https://www.example.com:8080/a", "example.com"),
        ("Example.COM", "http://EXAMPLE.com/", "example.com"),
        (".example.com.", "http://a.example.com./", "example.com"),
        ("www.example.com", "http://example.com/", None),
        ("bücher.example", "http://www.xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("example.com/a.png", "https://example.com/a.png", "https://example.com/a.png"),
        ("example.com", "http://badexample.com/", None),
        ("example.com", "http://example.com.evil.org/", None),
        ("example.com", "http://other.org/?u=example.com", None),
        ("http://example.com/a.png", "http://example.com/a.png", "http://example.com/a.png"),
        ("HTTP://EXAMPLE.com:80/a.png#x", "http://example.com/a.png", "http://example.com/a.png"),
        ("http://example.com/a.png", "http://example.com/A.png", None),
        ("http://example.com/a.png", "http://example.com/b.png", None),
        ("http://example.com/", "http://example.com/a.png", None),
        ("# example.com", "http://example.com/", None),
        ("", "http://example.com/", None),
        ("example.com", "http://[half/", None),
        ("http://[half/", "http://[half/", "http://[half/"),
        ("example.com", "", None),
        ("example.com", "data:image/png;base64,AAAA", None),
    ],
)
def test_a_line_of_a_list_names_an_address_or_a_host_and_all_below_it(
    line: str, url: str, found: str | None, tmp_path: Path
) -> None:
    assert OptOutList([written(tmp_path, f"first.example\n\n{line}\r\n")]).find(url) == found


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert OptOutList([written(tmp_path, "\ufeffexample.com\n")]).find("http://example.com/") == "example.com"


def test_lists_add_up_and_no_list_refuses_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a.example\n")
    (tmp_path / "b").write_text("b.example\n")
    both = OptOutList([str(tmp_path / "a"), str(tmp_path / "b")])
    assert (both.find("http://a.example/"), both.find("http://b.example/")) == ("a.example", "b.example")
    assert OptOutList([]).find("http://a.example/") is None


def test_a_list_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^consent\.lists: .*nowhere: No such file or directory$"):
        OptOutList([str(tmp_path / "nowhere")])
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(UserError, match=r"^consent\.lists: .*binary: not UTF-8 text$"):
        OptOutList([str(tmp_path / "binary")])


def test_a_page_that_refuses_goes_and_the_ledger_names_the_signal(tmp_path: Path) -> None:
    pages = [
        document("text", image(), row=0, signals=[SIGNALS["x_robots_tag"]]),
        document("text", image(), row=1, signals=[SIGNALS["meta_robots"]]),
        document("text", image(), row=2, signals=[SIGNALS["tdm_reservation"]]),
        document("text", image(), row=3, signals=[Signal("meta", "robots", "noindex")]),
        document("text", image(), row=4, url="http://www.refuses.example/page"),
    ]
    settings = CONSENT.model_copy(update={"lists": [written(tmp_path, "refuses.example\n")]})
    done = run_stage(ask_consent, settings, pages, tmp_path)
    assert [page.row for page in done.kept] == [3]
    assert [(line["row"], line["level"], line["rule"], line["value"]) for line in done.ledger] == [
        (0, "document", "x_robots_tag", "header x-robots-tag: noai"),
        (1, "document", "meta_robots", "meta robots: noai"),
        (2, "document", "tdm_reservation", "header tdm-reservation: 1"),
        (4, "document", "opt_out_list", "refuses.example"),
    ]
    assert done.receipt.drops["document"] == {
        "meta_robots": 1,
        "opt_out_list": 1,
        "tdm_reservation": 1,
        "x_robots_tag": 1,
    }


def test_the_signal_of_the_page_is_named_before_the_list(tmp_path: Path) -> None:
    settings = CONSENT.model_copy(update={"lists": [written(tmp_path, "host.example\n")]})
    done = run_stage(ask_consent, settings, [document("text", image(), signals=[SIGNALS["meta_robots"]])], tmp_path)
    assert done.dropped == [("document", "meta_robots")]


def test_a_listed_image_goes_and_the_page_stays_with_the_others(tmp_path: Path) -> None:
    images = [image("http://refuses.example/1.png"), image("http://other.example/2.png")]
    settings = Consent(lists=[written(tmp_path, "refuses.example\n")])
    done = run_stage(ask_consent, settings, [document(images[0], "text", images[1])], tmp_path)
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
    settings = Consent(lists=[written(tmp_path, "http://host.example/a.png\n")])
    done = run_stage(ask_consent, settings, [document("text", image())], tmp_path)
    assert done.kept == []
    assert done.dropped == [("image", "opt_out_list"), ("document", "text_and_image")]
    assert done.rows("wanted") == []


@pytest.mark.parametrize("url", ["http://[half/page", "http://a℀b.example/page"])
def test_an_address_that_cannot_be_split_is_on_no_list_and_costs_nothing(url: str, tmp_path: Path) -> None:
    settings = Consent(lists=[written(tmp_path, "example.com\n")])
    done = run_stage(ask_consent, settings, [document("text", image(url), url=url)], tmp_path)
    assert len(done.kept) == 1
