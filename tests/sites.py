"""Hosts on loopback for tests: 127.0.0.N is a host of its own for each N, and one server answers for all of them."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.loopback import Handler, Server

LOOPBACK = ["127.0.0.0/8"]


@dataclass
class Says:
    """What a host answers to a path."""

    body: bytes | str = b""
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    wait: float = 0  # seconds before the first byte


class Sites(Server):
    """`pages` by host and path ("127.0.0.2/robots.txt"); what is not there is a 404. `asked` counts the requests."""

    def __init__(self) -> None:
        super().__init__("0.0.0.0", _Handler)
        self.pages: dict[str, Says] = {}
        self.asked: Counter[str] = Counter()
        self.keys: list[str] = []  # that came with a GET
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.post: Callable[[bytes], Says] = lambda _: Says(status=405)

    def origin(self, number: int) -> str:
        return f"http://127.0.0.{number}:{self.server_port}"


class _Handler(Handler):
    server: Sites

    def send(self, says: Says) -> None:
        time.sleep(says.wait)
        body = says.body.encode() if isinstance(says.body, str) else says.body
        self.send_response(says.status)
        for name, value in [("Content-Length", str(len(body))), *says.headers]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        asked = self.headers["Host"].partition(":")[0] + self.path
        self.server.asked[asked] += 1
        self.server.keys += self.headers.get_all("Authorization", [])
        self.send(self.server.pages.get(asked, Says(status=404)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((dict(self.headers.items()), body))
        self.send(self.server.post(body))
