"""A folder in; in it, the same bytes every time, a small crawl of our own making and the table of its pages' fates."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from pipeline.sample.crawl import fetch_all, robots_fetches, warc_bytes
from pipeline.sample.definitions import read_hosts, read_pages, read_pictures, read_robots
from pipeline.sample.fates import fates, opt_outs
from pipeline.storage import aside

ROBOTS = "robotstxt/carnac-sample-robots.warc.gz"  # below the sample folder, beside those of the pages


@dataclass(frozen=True, slots=True)
class Written:
    """What `write` left behind: `warcs` in order, and how many of each; `bytes` are those of the WARC files."""

    warcs: list[Path]
    pages: int
    hosts: int
    pictures: int
    bytes: int

    def __str__(self) -> str:
        size = f"{self.bytes / 1e6:.1f} MB"
        pages = f"{self.pages} pages of {self.hosts} hosts and {self.pictures} pictures"
        return f"{pages} in {len(self.warcs)} WARC files ({size}) below {self.warcs[0].parent.parent}"


def write(folder: Path) -> Written:
    """Writes folder/2026-03/*.warc.gz, folder/2026-09/*.warc.gz, folder/robotstxt/*.warc.gz, folder/opt-out.txt and
    folder/fates.jsonl.

    A row of fates.jsonl is a capture of a page: `url`, `crawl_date`, `fate` ("kept", or the rule that drops it),
    `stage` (null for a kept page), `made_for`, and, where the page is made for that, `images` {address: "kept" or
    rule}, `paragraphs` {first 60 characters: rule}, `contains` and `lacks` (of the kept text) and `digests`
    {address: SHA-256 of the bytes that this capture must get}.

    Raises UserError where the folder cannot be written, StorageFull where there is no room.
    """
    hosts, pages, pictures = read_hosts(), read_pages(), read_pictures()
    try:
        folder.mkdir(parents=True, exist_ok=True)  # before the pictures, which take seconds
        files, digests = fetch_all(hosts, pages, pictures)
        rows = fates(hosts, pages, digests)
        contents = {name: warc_bytes(name, fetches) for name, fetches in files.items()}
        contents[ROBOTS] = warc_bytes(ROBOTS, robots_fetches(read_robots()))
        contents["opt-out.txt"] = "".join(f"{line}\n" for line in opt_outs(pages)).encode()
        contents["fates.jsonl"] = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()
        for name, content in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with aside(folder / name) as temporary:
                temporary.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"{folder}: the sample crawl cannot be written: {error.strerror}; name a folder to write to"
        ) from error
    return Written(
        warcs=[folder / name for name in files],
        pages=len(rows),
        hosts=len({page.host for page in pages}),
        pictures=len({digest for of_date in digests.values() for digest in of_date.values()}),
        bytes=sum(len(contents[name]) for name in files),
    )
