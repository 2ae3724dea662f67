"""A host on loopback that publishes a crawl as Common Crawl does, and has bad moments; it counts what it is asked."""

import gzip
import hashlib
import json
import random
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import warc
from pipeline.warc import Record
from tests.crawls import page, picture, prose, write_warc
from tests.loopback import Handler, Server

CRAWL = "CC-MAIN-2025-33"
PLACE = f"crawl-data/{CRAWL}"
INDEX = f"cc-index/table/cc-main/warc/crawl={CRAWL}/subset=warc"
BEGUN = 0.15  # seconds: a request that was under way when another was told to wait


def publish(
    folder: Path, files: int = 3, pages: int = 20, pictures: bool = False, noise: int = 0
) -> list[dict[str, Any]]:
    """Writes a crawl below `folder`: WARC files, its lists with blank lines among them, and its index, whose rows it returns.
    `noise`: bytes of each page that cannot be compressed."""
    names, rows = [], []
    for number in range(files):
        name = f"{PLACE}/segments/1754/warc/CC-MAIN-2025-{number:05d}.warc.gz"
        responses = []
        for index in range(pages):
            seed = number * pages + index
            host = f"http://host{seed}.example"
            body = page(prose(seed), ["/picture.png"] if pictures else [])
            body += f"<!-- {random.Random(seed).randbytes(noise // 2).hex()} -->".encode() if noise else b""
            responses.append((f"{host}/page", "text/html; charset=utf-8", body))
            if pictures:
                responses.append((f"{host}/picture.png", "image/png", picture(seed)))
        path = write_warc(folder / name, responses)
        names.append(name)
        rows += [_row(item, name) for item in warc.read(str(path)) if isinstance(item, Record)]
    tables = [f"{INDEX}/part-{number:05d}.parquet" for number in range(2)]
    (folder / INDEX).mkdir(parents=True)
    for number, table in enumerate(tables):
        pq.write_table(pa.Table.from_pylist(rows[number::2]), folder / table)
    elsewhere = INDEX.replace("subset=warc", "subset=robotstxt") + "/part-00000.parquet"
    for kind, listed in (("warc", names), ("cc-index-table", [*tables, elsewhere])):
        (folder / PLACE / f"{kind}.paths.gz").write_bytes(gzip.compress("\n\n".join(["", *listed, " ", ""]).encode()))
    known = [{"id": f"CC-MAIN-{year}-{week:02d}"} for year in (2024, 2025) for week in (18, 33, 46)]
    (folder / "collinfo.json").write_text(json.dumps(known))
    return rows


def _row(record: Record, name: str) -> dict[str, Any]:
    return {
        "url": record.url, "content_mime_detected": record.content_type.partition(";")[0], "fetch_status": record.status,
        "content_languages": "eng" if record.offset else None, "content_digest": hashlib.sha1(record.body).hexdigest(),
        "warc_filename": name, "warc_record_offset": record.offset, "warc_record_length": record.length,
    }  # fmt: skip


@dataclass
class Faults:
    """Shares of the requests that are answered so, drawn by `seed`."""

    unavailable: float = 0.0  # 503, every third with Retry-After
    forbidden: float = 0.0
    reset: float = 0.0
    short: float = 0.0
    seed: int = 44  # of which every fault is among the first twenty


BAD = Faults(0.10, 0.05, 0.02, 0.02)


class CrawlHost(Server):
    """Serves a folder by byte ranges."""

    def __init__(self, folder: Path, faults: Faults | None = None) -> None:
        super().__init__("127.0.0.1", _Handler)
        self.folder, self.faults = folder, faults or Faults()
        self.draw = random.Random(self.faults.seed)
        self.lock = threading.Lock()
        self.down: str | None = None  # what of its paths is answered with 503, always
        self.slow = 0.0  # seconds before an answer
        self.asked: list[tuple[str, str]] = []  # path and Range of each request
        self.agents: set[str] = set()
        self.sent = self.active = self.most = self.early = self.broken = 0
        self.answered: dict[int, int] = {}
        self.told = self.until = 0.0  # when a client was last told to wait, and until when

    @property
    def base(self) -> str:
        return self.url("/")


class _Handler(Handler):
    server: CrawlHost
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        host, now = self.server, time.time()
        with host.lock:
            host.asked.append((self.path, self.headers.get("Range", "")))
            host.agents.add(self.headers.get("User-Agent", ""))
            host.active += 1
            host.most = max(host.most, host.active)
            host.early += host.told + BEGUN < now < host.until
            drawn, third = host.draw.random(), host.draw.random() < 1 / 3
        self.counted = False
        try:
            time.sleep(host.slow)
            self.answer(drawn, third)
        finally:
            self.over()

    def over(self) -> None:
        """Told before the last bytes are sent: who has them may ask again at once."""
        with self.server.lock:
            self.server.active -= not self.counted
            self.counted = True

    def answer(self, drawn: float, third: bool) -> None:
        faults, path = self.server.faults, self.path.partition("?")[0].lstrip("/")
        if self.server.down and self.server.down in path:
            return self.say(503)
        if drawn < faults.unavailable:
            if third:
                with self.server.lock:
                    self.server.told = time.time()
                    self.server.until = max(self.server.until, self.server.told + 1)
                return self.say(503, {"Retry-After": "1"})
            return self.say(503)
        drawn -= faults.unavailable
        if drawn < faults.forbidden:
            return self.say(403)
        drawn -= faults.forbidden
        file = self.server.folder / path
        if not file.is_file():
            return self.say(404)
        size = file.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), min(size, int(asked[2] or size) + 1)) if asked else (0, size)
        if asked and start >= size:
            return self.say(416, {"Content-Range": f"bytes */{size}"})
        with file.open("rb") as opened:
            opened.seek(start)
            body = opened.read(end - start)
        about = {"ETag": f'"{file.stat().st_mtime_ns}"'}
        if asked:
            about["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        cut = drawn < faults.reset + faults.short
        return self.say(206 if asked else 200, about, body, len(body) // 2 if cut else None, drawn < faults.reset)

    def say(
        self,
        status: int,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        cut: int | None = None,
        reset: bool = False,
    ) -> None:
        with self.server.lock:
            self.server.answered[status] = self.server.answered.get(status, 0) + 1
            self.server.sent += len(body[:cut])
            self.server.broken += cut is not None
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.over()
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
