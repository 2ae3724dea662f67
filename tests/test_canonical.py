"""Addresses that mean the same are one, as far as the configuration says; hosts, and the domains they belong to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.canonical import canonical_url, host_of, page_address, registered_domain
from pipeline.config import TRACKING, Canonical

URL = "HTTP://WWW.Example.COM.:80/A?b=2&utm_source=x&a=1&GCLID=y#part"
NOTHING = Canonical(host_case=False, default_port=False, trailing_dots=False, fragment=False, parameters=[])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com/a", "http://example.com/a"),
        ("HTTP://Example.COM/A", "http://example.com/A"),
        ("http://example.com", "http://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:443/", "https://example.com/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://example.com:8080/", "http://example.com:8080/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com./a", "http://example.com/a"),
        ("http://example.com/a#part", "http://example.com/a"),
        ("http://example.com/a?b=2&a=1#c", "http://example.com/a?b=2&a=1"),
        ("http://example.com/a?B=C", "http://example.com/a?B=C"),
        ("http://example.com/%7Euser/", "http://example.com/%7Euser/"),
        ("  http://example.com/a\n", "http://example.com/a"),
        ("http://[2001:DB8::1]/a", "http://[2001:db8::1]/a"),
        ("http://[2001:DB8::1]:8080/a", "http://[2001:db8::1]:8080/a"),
        ("http://[half/a", "http://[half/a"),
        ("http://example.com:port/", "http://example.com:port/"),
        ("http://example.com:99999/", "http://example.com:99999/"),
        ("", "/"),
    ],
)
def test_addresses_that_mean_the_same_are_written_alike(url: str, expected: str) -> None:
    assert canonical_url(url) == expected
    assert canonical_url(expected) == expected


@given(st.from_regex(r"https?://[a-zA-Z0-9-]{1,9}[a-zA-Z0-9.:@-]{0,20}(/[!-~]{0,20})?", fullmatch=True))
def test_an_address_that_is_written_canonically_stays_as_it_is(url: str) -> None:
    once = canonical_url(url)
    assert canonical_url(once) == once


@given(st.text(max_size=60) | st.text("htp:/[]@.#?%0\t a℀", max_size=30))
def test_no_text_breaks_it(url: str) -> None:
    assert isinstance(host_of(canonical_url(url)), str)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, URL),
        ({"host_case": True}, "http://www.example.com.:80/A?b=2&utm_source=x&a=1&GCLID=y#part"),
        ({"default_port": True}, "http://WWW.Example.COM./A?b=2&utm_source=x&a=1&GCLID=y#part"),
        ({"trailing_dots": True}, "http://WWW.Example.COM:80/A?b=2&utm_source=x&a=1&GCLID=y#part"),
        ({"fragment": True}, "http://WWW.Example.COM.:80/A?b=2&utm_source=x&a=1&GCLID=y"),
        ({"parameters": ["utm_*"]}, "http://WWW.Example.COM.:80/A?b=2&a=1&GCLID=y#part"),
        ({"parameters": ["gclid", "a"]}, "http://WWW.Example.COM.:80/A?b=2&utm_source=x#part"),
        ({"sort_query": True}, "http://WWW.Example.COM.:80/A?GCLID=y&a=1&b=2&utm_source=x#part"),
        ({"scheme": True}, "//WWW.Example.COM.:80/A?b=2&utm_source=x&a=1&GCLID=y#part"),
        ({"www": True}, "http://Example.COM.:80/A?b=2&utm_source=x&a=1&GCLID=y#part"),
    ],
)
def test_each_setting_takes_one_thing_from_an_address(change: dict[str, object], expected: str) -> None:
    assert page_address(URL, NOTHING.model_copy(update=change)) == expected


def test_by_default_what_says_nothing_of_the_page_is_taken_and_as_written_takes_nothing() -> None:
    assert page_address(URL, Canonical()) == "http://www.example.com/A?b=2&a=1"
    assert page_address(URL, NOTHING) == URL
    assert page_address("http://a.example/?fbclid=1", Canonical()) == "http://a.example/"
    assert page_address("http://a.example/?utm%5Fid=1&utmost=2", Canonical()) == "http://a.example/?utmost=2"
    assert page_address("https://user@a.example:443/", Canonical()) == "https://a.example/"
    assert page_address("http://www.com/", Canonical(www=True)) == "http://www.com/"


def test_without_its_tracking_an_image_address_would_be_another() -> None:
    assert canonical_url("http://a.example/1.png?utm_source=x") == "http://a.example/1.png?utm_source=x"


@given(st.text(max_size=60) | st.text("htp:/[]@.#?%0&=utm_\t a℀", max_size=40), st.booleans(), st.booleans())
def test_no_text_breaks_it_and_a_page_address_stays_as_it_is(url: str, flag: bool, other: bool) -> None:
    settings = Canonical(sort_query=flag, www=other)
    once = page_address(url, settings)
    assert page_address(once, settings) == once or "\\" in url or not once.startswith("http")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("news.example.co.uk", "example.co.uk"),
        ("example.com", "example.com"),
        ("a.example.com:8080", "example.com"),
        ("one.github.io", "one.github.io"),
        ("github.io", "github.io"),
        ("co.uk", "co.uk"),
        ("host7.example", "host7.example"),
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("localhost", "localhost"),
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("", ""),
    ],
)
def test_the_registered_domain_of_a_host(host: str, expected: str) -> None:
    assert registered_domain(host) == expected


@given(st.text(max_size=40))
def test_any_host_has_a_domain(host: str) -> None:
    assert isinstance(registered_domain(host), str)


def test_a_tracking_parameter_is_named_once() -> None:
    assert len(set(TRACKING)) == len(TRACKING)
