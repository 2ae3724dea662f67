"""Documents in; those whose page, host or list of refusals does not say no to training out, without refused images."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filters.verdict import Verdict
from pipeline.document import Node, Signal
from pipeline.errors import UserError
from pipeline.keys import WANTED, canonical_url, host_of, image_key_rows
from pipeline.work import Work

if TYPE_CHECKING:
    from pipeline.config import Consent

# DeviantArt's directives, 2022; img2dataset and Spawning read the same two. "noimageai" spares the text, but a document
# of this corpus is nothing without its images.
REFUSALS = {"noai", "noimageai"}
# Directives that hold a colon themselves, so that what stands before it names no robot (Google, Robots meta tag).
DIRECTIVES_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}


def ask_consent(work: Work, settings: "Consent") -> None:
    """A page's own refusal drops the page; a listed image drops the image."""
    wanted = work.table("wanted", WANTED)
    refused = opt_out_list(tuple(settings.lists))
    for document in work.documents():
        no = refusal(document.signals, settings.signals)
        if no is None and (listed := refused.find(document.url)):
            no = "opt_out_list", Verdict(False, listed, "not listed")
        if no is not None:
            work.drop(document, "document", *no)
            continue
        kept: list[Node] = []
        for node in document.nodes:
            if node.image is not None and (listed := refused.find(node.image.url)):
                verdict = Verdict(False, listed, "not listed")
                work.drop(document, "image", "opt_out_list", verdict, node.image.url, node.position)
            else:
                kept.append(node)
        document.nodes = kept
        if work.keep_whole(document):
            for row in image_key_rows(document):
                wanted.write(row)


def refusal(signals: Iterable[Signal], heeded: Sequence[str]) -> tuple[str, Verdict] | None:
    """The first signal that says no, as the rule of that name and the evidence; the most restrictive reading wins: a
    refusal that is addressed to one robot is taken as meant for us."""
    for signal in signals:
        rule = {"x-robots-tag": "x_robots_tag", "tdm-reservation": "tdm_reservation"}.get(signal.name, "meta_robots")
        if rule not in heeded:
            continue
        # TDMRep: any value but 0 and 1 is as if it were not there.
        said = {signal.value.strip()} & {"1"} if rule == "tdm_reservation" else REFUSALS & set(directives(signal.value))
        if said:
            return rule, Verdict(False, f"{signal.where} {signal.name}: {signal.value}"[:200], "no refusal")
    return None


def directives(value: str) -> list[str]:
    """The directives of a robots header or meta, lower case, without the name of a robot that may stand before them."""
    found = []
    for part in value.lower().split(","):
        head, colon, tail = part.partition(":")
        found.append((tail if colon and head.strip() not in DIRECTIVES_WITH_VALUE else part).strip())
    return found


class OptOutList:
    """Addresses, with or without scheme, and hosts, one a line; a host stands for the hosts below it, too."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.addresses: set[str] = set()
        self.hosts: set[str] = set()
        for path in paths:
            try:
                text = Path(path).read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"consent.lists: {path}: {getattr(error, 'strerror', 'not UTF-8 text')}") from None
            for line in map(str.strip, text.splitlines()):
                if not line or line.startswith("#"):
                    continue
                if "//" in line:
                    self.addresses.add(canonical_url(line))
                elif "/" in line:
                    self.addresses |= {canonical_url(f"{scheme}://{line}") for scheme in ("http", "https")}
                else:
                    self.hosts.add(host_of(canonical_url(f"http://{line.strip('.')}")))

    def find(self, url: str) -> str | None:
        """The line that names this address or its host, or none."""
        address = canonical_url(url)
        if address in self.addresses:
            return address
        try:
            labels = (urlsplit(address).hostname or "").split(".")
        except ValueError:  # half a bracket, characters that no host has: on no list
            return None
        return next((host for i in range(len(labels)) if (host := ".".join(labels[i:])) in self.hosts), None)


opt_out_list = functools.cache(OptOutList)
