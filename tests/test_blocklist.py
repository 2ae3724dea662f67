"""Addresses and lists in, who is dropped out: one line a case."""

from pathlib import Path

import pytest

from filters.blocklist import blocked_hosts, blocked_url_words, blocked_urls
from pipeline.errors import UserError
from tests.documents import document


def listed(folder: Path, *lines: str) -> list[str]:
    path = folder / "list.txt"
    path.write_text("\n".join(["# a comment", "", *lines]), "utf-8")
    return [str(path)]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://spam.example/a", "spam.example"),
        ("https://www.Spam.example:8080/", "spam.example"),
        ("http://a.b.spam.example./", "spam.example"),
        ("http://notspam.example/", None),
        ("http://spam.example.org/", None),
        ("http://host.example/spam.example", None),
        ("http://me:pw@bad.co.uk/", "bad.co.uk"),
        ("http://[::1", None),
        ("", None),
    ],
)
def test_a_listed_host_blocks_itself_and_what_is_below_it(url: str, found: str | None, tmp_path: Path) -> None:
    verdict = blocked_hosts(document(url=url), files=listed(tmp_path, "Spam.example", "bad.co.uk."))
    assert verdict == (found is None, found or "not listed", "not listed")


@pytest.mark.parametrize(
    ("url", "keep"),
    [
        ("http://host.example/page", False),
        ("https://HOST.example/page/#top", False),
        ("http://host.example/page/two", True),
        ("http://host.example/page?x=1", True),
        ("http://other.example/x", False),
    ],
)
def test_a_listed_address_is_blocked(url: str, keep: bool, tmp_path: Path) -> None:
    files = listed(tmp_path, "http://host.example/page", "other.example/x")
    assert blocked_urls(document(url=url), files=files).keep == keep


@pytest.mark.parametrize(
    ("url", "count"),
    [
        ("http://free-casino.example/Loans", 2),
        ("http://host.example/?q=casino&casino", 1),
        ("http://casinos.example/", 0),
    ],
)
def test_listed_words_of_an_address_are_counted(url: str, count: int, tmp_path: Path) -> None:
    files = listed(tmp_path, "casino", "loans")
    assert blocked_url_words(document(url=url), files=files, max=1) == (count <= 1, count, "at most 1")


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent.txt"
    with pytest.raises(UserError, match=rf"{absent}: No such file"):
        blocked_hosts(document(), files=[str(absent)])
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=rf"{binary}: not UTF-8 text"):
        blocked_hosts(document(), files=[str(binary)])
