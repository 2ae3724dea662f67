"""A paragraph or a document's text in, kept or dropped for what may name a person: e-mail and IP addresses, phone numbers.

Every pattern is bounded and takes linear time. Off by default: OBELICS takes none of these out.
"""

import ipaddress
import re

from filters.text import Text
from filters.verdict import Verdict, within

# RFC 5321 4.5.3.1: 64 characters before the @; RFC 1035 2.3.4: 63 a label.
EMAIL = re.compile(
    r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,63}(?![\w-])",
    re.ASCII | re.IGNORECASE,
)
IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)", re.ASCII)
# E.164: a plus and up to 15 digits, in groups; and the North American form without it.
PHONE = re.compile(
    r"(?<![\w.+])(?:\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,6}|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4})(?![\w]|[.-]\d)",
    re.ASCII,
)


def pii_emails(text: Text, *, max: int) -> Verdict:
    """The number of e-mail addresses."""
    return within(len(EMAIL.findall(text.text)) if "@" in text.text else 0, max=max)


def pii_ip_addresses(text: Text, *, max: int) -> Verdict:
    """The number of public IPv4 addresses (not 10.1.2.3 or 127.0.0.1; version numbers such as 1.2.3.4 count)."""
    return within(sum(map(_is_public, IPV4.findall(text.text))), max=max)


def pii_phone_numbers(text: Text, *, max: int) -> Verdict:
    """The number of phone numbers: with a plus and 8 to 15 digits, or (555) 555-0123 with its variants."""
    found = (sum(map(str.isdigit, number)) for number in PHONE.findall(text.text))
    return within(sum(8 <= digits <= 15 for digits in found), max=max)


def _is_public(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address).is_global
    except ValueError:  # a part above 255, or with a leading zero
        return False
