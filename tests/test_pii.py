"""Texts in, the number of addresses and phone numbers out: one line a case."""

import time
from collections.abc import Callable

import pytest

from filters.pii import pii_emails, pii_ip_addresses, pii_phone_numbers
from filters.text import Text
from filters.verdict import Verdict

RULES = [pii_emails, pii_ip_addresses, pii_phone_numbers]


@pytest.mark.parametrize(
    ("rule", "text", "count"),
    [
        (pii_emails, "Write to Ann.Miller+news@mail.example.org, please.", 1),
        (pii_emails, "a@b.de;c@d.co.uk <e@f.museum>", 3),
        (pii_emails, "@handle, a@b, me at home dot com, 5 @ 3.50", 0),
        (pii_emails, "x" * 65 + "@host.example", 0),  # longer than an address may be
        (pii_emails, "a@a@a@host.example", 1),
        (pii_ip_addresses, "from 8.8.8.8, then 1.1.1.1.", 2),
        (pii_ip_addresses, "10.1.2.3 127.0.0.1 192.168.0.1 255.255.255.255", 0),  # not public
        (pii_ip_addresses, "8.8.8.256 8.8.8 8.8.8.8.8 08.8.8.8", 0),
        (pii_phone_numbers, "Call (555) 555-0123 or 555-555-0123 or 1-555-555-0123.", 3),
        (pii_phone_numbers, "+44 20 7946 0958, +1 (555) 555-0123, +49-30-901820", 3),
        (pii_phone_numbers, "2024-11-20, 1,000,000, 978-3-16-148410-0, 10.1000/182, 12:30", 0),
        (pii_phone_numbers, "+1 2 3", 0),
    ],
)
def test_what_names_a_person_is_counted(rule: Callable[..., Verdict], text: str, count: int) -> None:
    assert rule(Text(text), max=0) == (count == 0, count, "at most 0")


def test_a_bound_above_none_keeps_that_many() -> None:
    text = Text("a@b.de c@d.de")
    assert [pii_emails(text, max=most).keep for most in (1, 2)] == [False, True]


@pytest.mark.parametrize(
    "part", ["a", "a@", "@a", "1.", "1", "+1 ", "+", "(555) ", "555-", "a.b-", "1 ", "a@a.", "+1234", "٣", "\ud800"]
)
@pytest.mark.parametrize("rule", RULES)
def test_hostile_text_takes_linear_time(rule: Callable[..., Verdict], part: str) -> None:
    text = Text(part * (1_000_000 // len(part)))
    started = time.process_time()
    rule(text, max=0)
    assert time.process_time() - started < 4
