"""A /.well-known/tdmrep.json in (W3C TDMRep, 2024); what it says of an address out."""

import json
from typing import Any

from pipeline.consent.finding import Says
from pipeline.consent.robots import matches
from pipeline.consent.xml import Malformed

MAX_BYTES = 500 * 1024
MAX_RULES = 1_000


def read_tdmrep(data: bytes) -> list[tuple[str, int]]:
    """The rules of a file: pattern of the location, and 0 or 1; another value is as if it were not there.

    Raises Malformed: no JSON, or no list of objects with a location.
    """
    try:
        read: Any = json.loads(data[: MAX_BYTES + 1].decode("utf-8-sig")) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        raise Malformed("no JSON") from None
    if not isinstance(read, list):
        raise Malformed("no list of rules")
    rules = []
    for rule in read[:MAX_RULES]:
        if not isinstance(rule, dict) or not isinstance(rule.get("location"), str):
            raise Malformed("a rule without a location")
        reservation = rule.get("tdm-reservation")
        if isinstance(reservation, str) and reservation.strip() in ("0", "1"):
            reservation = int(reservation)
        if type(reservation) is int and reservation in (0, 1):
            rules.append((rule["location"], reservation))
    return rules


def tdmrep_says(rules: list[tuple[str, int]], url: str) -> tuple[Says, str] | None:
    """What the longest location that matches says; of two equally long ones, the one that reserves."""
    matching = [(len(location), reservation, location) for location, reservation in rules if matches(location, url)]
    if not matching:
        return None
    _, reservation, location = max(matching)
    return ("refused" if reservation else "allowed"), f"{location}: tdm-reservation {reservation}"
