"""robots.txt and ai.txt, case by case: whose rules are ours, which path they cover, and lines that are no rules."""

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.consent.robots import MAX_BYTES, Robots, ai_txt_says, matches, robots_findings
from pipeline.consent.xml import Malformed

AGENTS = ("carnac", "CCBot", "GPTBot", "Google-Extended")
URL = "https://host.example/art/blue.jpg?size=2"
HEEDED = ["robots_txt", "content_usage", "content_signal"]

ROBOTS = [
    ("User-agent: *\nDisallow: /", "*"),
    ("User-agent: *\nDisallow: /art", "*"),
    ("user-agent: *\r\ndisallow: /art/\r\n", "*"),
    ("USER-AGENT: *\nDISALLOW: /art/", "*"),
    ("\ufeffUser-agent: *\nDisallow: /art/", "*"),
    ("User-agent: carnac\nDisallow: /", "carnac"),
    ("User-agent: CCBot\nUser-agent: Bingbot\nDisallow: /", "CCBot"),
    ("User-agent: *\nAllow: /\n\nUser-agent: gptbot\nDisallow: /", "GPTBot"),
    ("User-agent: google-extended\nDisallow: /art/*.jpg", "Google-Extended"),
    ("User-agent: *\nDisallow: *.jpg", "*"),
    ("User-agent: *\nDisallow: /*size=2$", "*"),
    ("User-agent: *\nDisallow: /*.jpg$", None),  # the address goes on behind it
    ("User-agent: *\nAllow: /\nDisallow: /art/", "*"),
    ("User-agent: *\nDisallow: /\nAllow: /art/", None),
    ("User-agent: *\nDisallow: /art/\nAllow: /art/blue", None),
    ("User-agent: *\nDisallow: /Art/", None),
    ("User-agent: *\nDisallow: /%61rt/", "*"),
    ("User-agent: *\nDisallow: /b", None),
    ("User-agent: Bingbot\nDisallow: /", None),
    ("User-agent: GPTBot-other\nDisallow: /", None),
    ("User-agent: *\nDisallow:", None),
    ("User-agent: *\n# Disallow: /", None),
    ("User-agent: *\nDisallow: / # all of it", "*"),
    ("Disallow: /", None),  # of no group
    ("<!doctype html><p>Disallow: /", None),
    ("\x00\x01\x02", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "agent"), ROBOTS)
def test_a_robots_txt_refuses_by_the_longest_rule_of_any_agent_that_is_ours(text: str, agent: str | None) -> None:
    [found] = robots_findings(Robots(text.encode(), AGENTS), URL, HEEDED, "here")
    assert (found.says, found.signal, found.where) == ("refused" if agent else "allowed", "robots_txt", "here")
    assert found.value == (f"disallows {agent}" if agent else "allows")


USAGES = [
    ("User-agent: *\nContent-Usage: train-ai=n", "refused"),
    ("User-agent: *\nContent-Usage: train-ai=y", "allowed"),
    ("USER-AGENT: *\nCONTENT-USAGE: Train-AI=N", "refused"),
    ("User-agent: *\nContent-Usage: /art/ train-ai=n", "refused"),
    ("User-agent: *\nContent-Usage: /text/ train-ai=n", None),
    ("User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /art/ train-ai=y", "allowed"),
    ("User-agent: *\nContent-Usage: train-ai=y\nContent-Usage: /*.jpg train-ai=n", "refused"),
    ("User-agent: *\nContent-Usage: bots=n", "refused"),
    ("User-agent: *\nContent-Usage: tdm=n, search=y", "refused"),
    ("User-agent: *\nContent-Usage: train-genai=n, train-ai=y", "refused"),
    ("User-agent: *\nContent-Usage: search=n", None),
    ("User-agent: *\nContent-Usage: train-ai=no", "not_checked"),
    ("User-agent: *\nContent-Usage: train-ai: n", "not_checked"),
    ("User-agent: *\nContent-Usage:", None),
    ("User-agent: Bingbot\nContent-Usage: train-ai=n", None),
    ("User-agent: GPTBot\nContent-Usage: train-ai=n\n\nUser-agent: *\nContent-Usage: train-ai=y", "refused"),
    ("User-agent: Bingbot\nUser-agent: GPTBot\nAllow: /\nContent-Usage: train-ai=n", "refused"),
    ("Content-Usage: train-ai=n", "refused"),  # before any group: for all
    ("User-agent: *\nAllow: /", None),
]


@pytest.mark.parametrize(("text", "says"), USAGES)
def test_content_usage_in_robots_txt_is_that_of_the_longest_path_of_a_group(text: str, says: str | None) -> None:
    found = list(robots_findings(Robots(text.encode(), AGENTS), URL, ["content_usage"], "here"))
    order = ["refused", "not_checked", "allowed"]
    assert min((finding.says for finding in found), key=order.index, default=None) == says
    assert {finding.signal for finding in found} <= {"content_usage"}


SIGNALS = [
    ("User-agent: *\nContent-Signal: search=yes, ai-train=no", "refused"),
    ("User-Agent: *\nContent-signal: AI-Train=NO", "refused"),
    ("User-agent: *\nContent-Signal: ai-train=no,search=yes,ai-input=yes\nAllow: /", "refused"),
    ("User-agent: *\nContent-Signal: ai-train=yes", "allowed"),
    ("User-agent: *\nContent-Signal: search=no, ai-input=no", None),
    ("User-agent: *\nContent-Signal: ai-train=maybe", "not_checked"),
    ("User-agent: *\nContent-Signal: ai-train", "not_checked"),
    ("User-agent: *\nContent-Signal: ai-train=yes, ai-train=no", "refused"),
    ("User-agent: *\nContent-Signal: /text ai-train=no", None),
    ("User-agent: *\nContent-Signal: /art ai-train=no", "refused"),
    ("User-agent: Bingbot\nContent-Signal: ai-train=no", None),
    ("User-agent: CCBot\nContent-Signal: ai-train=no", "refused"),
    ("User-agent: *\n# Content-Signal: ai-train=no", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "says"), SIGNALS)
def test_a_content_signal_is_heeded_for_training_and_for_nothing_else(text: str, says: str | None) -> None:
    found = list(robots_findings(Robots(text.encode(), AGENTS), URL, ["content_signal"], "here"))
    assert [finding.says for finding in found] == ([says] if says else [])


AI_TXT = [
    ("User-Agent: *\nDisallow: *.jpg", "refused"),
    ("user-agent: *\ndisallow: *.jpg", "refused"),
    ("User-Agent: *\nDisallow: /", "refused"),
    ("User-Agent: *\nDisallow: *", "refused"),
    ("User-Agent: *\nDisallow: *.png\nDisallow: *.gif", "allowed"),
    ("User-Agent: *\nAllow: *.jpg\nDisallow: *.png", "allowed"),
    ("User-Agent: GPTBot\nDisallow: *.jpg", "refused"),
    ("User-Agent: Bingbot\nDisallow: *.jpg", "allowed"),
    ("Disallow: *.jpg", None),  # without an agent it does not count
    ("# User-Agent: *\nDisallow: *.jpg", None),
    ("<html><body>Not found</body></html>", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "says"), AI_TXT)
def test_an_ai_txt_counts_once_it_names_an_agent(text: str, says: str | None) -> None:
    said = ai_txt_says(Robots(text.encode(), AGENTS), URL)
    assert (said[0] if said else None) == says


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/art", True), ("/art/blue.jpg?size=2$", True), ("*blue", True), ("/*/blue", True), ("/", True), ("*", True),
        ("/art/blue.jpg$", False), ("art", False), ("", False), ("/ART", False), ("/art#x", False),
        ("/\nUser-agent: *", False),
    ],
)  # fmt: skip
def test_a_pattern_is_that_of_rfc_9309(pattern: str, found: bool) -> None:
    assert matches(pattern, URL) == found


FIELDS = ["User-agent: *", "Disallow: /", "Crawl-delay: x", "Request-rate: 1/0", "Visit-time: 99-1", "Content-Usage: ="]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(FIELDS), st.text(max_size=30)), max_size=20).map("\n".join),
    st.text(max_size=30),
)
def test_whatever_stands_in_a_file_it_is_read_or_malformed(text: str, path: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    with contextlib.suppress(Malformed):
        for found in robots_findings(Robots(data, AGENTS), f"https://host.example/{path}", HEEDED, ""):
            assert found.says in ("refused", "allowed", "not_checked")


def test_licences_are_of_the_whole_file_whatever_group_they_stand_in() -> None:
    text = b"License: https://a.example/l.xml\nUser-agent: Bingbot\nlicense: https://b.example/l.xml # theirs\nAllow: /"
    assert Robots(text, AGENTS).licences == ["https://a.example/l.xml", "https://b.example/l.xml"]


def test_what_lies_beyond_500_kib_is_not_read() -> None:
    filler = b"# " + b"x" * 98 + b"\n"
    late = filler * (MAX_BYTES // len(filler) + 1) + b"User-agent: *\nDisallow: /"
    [found] = robots_findings(Robots(late, AGENTS), URL, ["robots_txt"], "")
    assert found.says == "allowed"
    [found] = robots_findings(Robots(b"User-agent: *\nDisallow: /\n" + late, AGENTS), URL, ["robots_txt"], "")
    assert found.says == "refused"


@pytest.mark.parametrize(
    "text",
    [
        b"User-agent: *\n" + b"Disallow: /*a*b*c*d*e*f*g*h*i*j\n" * 14_000,
        b"User-agent: *\nDisallow: /" + b"*a" * 250_000,
        b"User-agent: x\n" * 36_000 + b"Disallow: /",
        b"User-agent: *\n" + b"Content-Usage: /*a*b train-ai=n\n" * 15_000,
        b"License: x\n" * 45_000,
    ],
)
def test_a_hostile_file_takes_seconds_at_most(text: bytes) -> None:
    started = time.process_time()
    robots = Robots(text, AGENTS)
    list(robots_findings(robots, "https://host.example/" + "ab" * 2000, HEEDED, ""))
    assert time.process_time() - started < 5
