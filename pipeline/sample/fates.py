"""The pages of the sample crawl in; the table of what must become of each, and the list of those who opted out, out."""

from typing import Any
from urllib.parse import urljoin

from pipeline.sample.crawl import Digests, capture_date
from pipeline.sample.definitions import Host, Page
from pipeline.sample.markup import page_html, paragraph_starting

STAGES = {
    "http_status": "documents",
    "not_html": "documents",
    "no_content": "documents",
    "number_of_images": "text",
    "number_of_words": "text",
    "character_repetition": "text",
    "word_repetition": "text",
    "special_characters": "text",
    "stop_words": "text",
    "punctuation": "text",
    "common_words": "text",
    "language": "score_rules",
    "latest_url": "unique",
    "near_duplicate": "unique",
    "latest_image_set": "final",
    "x_robots_tag": "consent",
    "meta_robots": "consent",
    "tdm_reservation": "consent",
    "content_usage": "consent",
    "robots_txt": "consent",
    "opt_out_list": "consent",
    "text_and_image": "image_rules",
}  # the stage at which each rule drops a page; flagged words never do, since no paragraph has more than a page may


def fates(hosts: dict[str, Host], pages: list[Page], digests: Digests) -> list[dict[str, Any]]:
    """One row a capture, in the order of the definitions, the earlier date first."""
    return [
        _fate(page, hosts[page.host], date, index, digests) for index, page in enumerate(pages) for date in page.fates
    ]


def opt_outs(pages: list[Page]) -> list[str]:
    """Addresses and hosts, one a line of the list."""
    return [page.opt_out for page in pages if page.opt_out]


def _fate(page: Page, host: Host, date: str, index: int, digests: Digests) -> dict[str, Any]:
    fate = page.fates[date]
    when = capture_date(date, index)
    row: dict[str, Any] = {
        "url": page.url,
        "crawl_date": f"{when:%Y-%m-%dT%H:%M:%SZ}",
        "fate": fate,
        "stage": None if fate == "kept" else page.stage or STAGES[fate],
        "made_for": page.made_for,
    }
    if fate == "latest_url":  # it goes before any of the rest could be seen
        return row
    if page.images:
        row["images"] = {urljoin(host.images, name): rule for name, rule in page.images.items()}
    if page.paragraphs:
        text = page_html(page, host, when)
        row["paragraphs"] = {paragraph_starting(text, start): rule for rule, start in page.paragraphs.items()}
    if page.contains:
        row["contains"] = page.contains
    if page.lacks:
        row["lacks"] = page.lacks
    if page.digests:
        addresses = [urljoin(host.images, name) for name in page.digests]
        row["digests"] = {address: digests[date][address] for address in addresses}
    return row
