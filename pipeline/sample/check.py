"""A run over the sample crawl and the crawl's table of fates in; every page whose fate is another one out."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.explain import select, tables

KEPT = "kept"

Capture = tuple[str, str]  # address and date


def check(crawl: Path, run: Path) -> int:
    """Prints what differs; the number of captures that are not as the table says is 0 where all is well.

    Raises UserError where there is no table, or no run.
    """
    try:
        lines = (crawl / "fates.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{crawl / 'fates.jsonl'}: {error.strerror}; `carnac sample {crawl}` writes it") from None
    expected = [json.loads(line) for line in lines]
    seen = _Seen(run)
    wrong = 0
    for row in expected:
        differences = list(seen.differences(row))
        wrong += bool(differences)
        for difference in differences:
            print(f"{row['url']} of {row['crawl_date'][:10]}: {difference} (the page was made for: {row['made_for']})")
    print(f"{len(expected) - wrong} of {len(expected)} captures came to the end that the table of fates names")
    return wrong


class _Seen:
    """What a run did with each capture, read from its ledgers and from the documents it kept."""

    def __init__(self, run: Path) -> None:
        self.fate: dict[Capture, tuple[str, str | None]] = {}  # rule and stage
        self.images: dict[Capture, dict[str, list[str]]] = defaultdict(dict)
        self.paragraphs: dict[Capture, dict[str, str]] = defaultdict(dict)
        self.kept: dict[Capture, dict[str, Any]] = {}
        for stage, files in tables(run, "ledger").items():
            for row in select(files, "*", "level <> 'record'"):
                capture = row["url"], f"{row['crawl_date']:%Y-%m-%dT%H:%M:%SZ}"
                if row["level"] == "document":
                    self.fate[capture] = row["rule"], stage
                elif row["level"] == "image":
                    self.images[capture].setdefault(row["excerpt"], []).append(row["rule"])
                else:
                    self.paragraphs[capture][row["excerpt"]] = row["rule"]
        for row in select(tables(run, "documents").get("final", []), "*", "true"):
            self.kept[row["url"], f"{row['crawl_date']:%Y-%m-%dT%H:%M:%SZ}"] = row

    def differences(self, row: dict[str, Any]) -> Iterator[str]:
        capture = row["url"], row["crawl_date"]
        document = self.kept.get(capture)
        fate, stage = (KEPT, None) if document else self.fate.get(capture, ("not read", None))
        if (fate, stage) != (row["fate"], row["stage"]):
            yield f"expected {row['fate']} at {row['stage']}, found {fate} at {stage}"
            return
        nodes = document["nodes"] if document else []
        text = "\n\n".join(node["text"] for node in nodes if node["text"])
        images = {node["image"]["url"]: node["image"]["sha256"] for node in nodes if node["image"]}
        for address, rule in row.get("images", {}).items():
            # An image that stands twice is kept at one place and dropped at the other.
            found = [KEPT] * (address in images) + self.images[capture].get(address, [])
            if rule not in found:
                yield f"image {address}: expected {rule}, found {' and '.join(found) or 'nothing'}"
        for start, rule in row.get("paragraphs", {}).items():
            fell_to = next((by for text, by in self.paragraphs[capture].items() if text.startswith(start)), KEPT)
            if fell_to != rule:
                yield f"paragraph {start!r}: expected {rule}, found {fell_to}"
        yield from (f"the text lacks {part!r}" for part in row.get("contains", []) if part not in text)
        yield from (f"the text has {part!r}" for part in row.get("lacks", []) if part in text)
        for address, digest in row.get("digests", {}).items():
            if images.get(address) != digest:
                yield f"image {address}: expected the bytes {digest[:12]}…, found {str(images.get(address))[:12]}…"
