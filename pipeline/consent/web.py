"""An address in; what came of asking it, once and guarded, out. The one place from which consent reaches the network."""

import io
import time
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal

from pipeline.fetch import Failure, Fetcher
from pipeline.journal import append, entries, entry_at
from pipeline.payload import decoded

if TYPE_CHECKING:
    from pipeline.config import Requests

MAX_BYTES = 4 * 10**6  # of an answer
MAX_KEPT = 512 * 1024  # of a file; each of its readers stops, or gives up, before

# RFC 9309, 2.3.1: a 4xx says that there is no such file; a server that fails, or none, is no answer.
State = Literal["found", "absent", "unreachable", "unreadable"]
_ABSENT = {"gone", "forbidden", "client_error"}
_UNREACHABLE = {"too_many_requests", "server_error", "timed_out", "network_error", "no_such_host"}


@cache
def _fetcher(user_agent: str, allowed_networks: tuple[str, ...]) -> Fetcher:
    return Fetcher(user_agent=user_agent, max_bytes=MAX_BYTES, allowed_networks=allowed_networks)


@dataclass(frozen=True, slots=True)
class Reply:
    """`seen` is the second since 1970 at which it was asked, `detail` for a reader ("HTTP 503")."""

    state: State
    detail: str
    seen: int
    body: bytes = b""

    @property
    def when(self) -> datetime:
        return datetime.fromtimestamp(self.seen, UTC)


def ask(url: str, settings: "Requests", post: bytes | None = None, key: str = "") -> Reply:
    """A GET, or a POST of plain text with an API key that no redirect carries elsewhere. Never raises."""
    fetcher = _fetcher(settings.user_agent, tuple(settings.allowed_networks))
    now = int(time.time())
    try:
        if post is None:
            answer = fetcher.get(url, seconds=settings.seconds)
        else:
            request = urllib.request.Request(url, data=post, headers={"Content-Type": "text/plain"})
            request.add_unredirected_header("Authorization", f"API {key}")
            answer = fetcher.send(request, seconds=settings.seconds)
    except Failure as failure:
        state: State = (
            "absent" if failure.reason in _ABSENT else "unreachable" if failure.reason in _UNREACHABLE else "unreadable"
        )
        return Reply(state, f"{failure.reason}, {failure.detail}", now)
    body = answer.data
    if coding := str(answer.headers.get("Content-Encoding", "")).strip().lower():  # nobody asked for one
        body, cut = decoded(body, coding, MAX_BYTES)
        if cut:
            return Reply("unreadable", f"Content-Encoding: {coding[:40]}", now)
    return Reply("found", f"HTTP {answer.status}", now, body[: MAX_KEPT if post is None else MAX_BYTES])


class Replies:
    """What was asked, in a journal beside the tables of its shard, so that a run that was killed asks nobody twice: whoever
    does the shard again finds in it what was answered before. Shared by threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._places: dict[str, int] = {}
        end = 0
        for entry in entries(path):
            self._places[entry.head["asked"]], end = entry.place, entry.end
        self._file = path.open("ab")
        self._file.truncate(end)

    def find(self, asked: str) -> Reply | None:
        if asked not in self._places:
            return None
        with self.path.open("rb") as file:
            entry = entry_at(file, self._places[asked])
            assert entry is not None  # it was written whole
            file.seek(entry.body)
            return Reply(entry.head["state"], entry.head["detail"], entry.head["seen"], file.read(entry.size))

    def add(self, asked: str, reply: Reply) -> None:
        """Failures of a moment are not remembered."""
        if reply.state in ("unreachable", "unreadable"):
            return
        head = {"asked": asked, "state": reply.state, "detail": reply.detail, "seen": reply.seen}
        with self._lock:
            self._places[asked] = append(self._file, head, io.BytesIO(reply.body))

    def close(self) -> None:
        self._file.close()
