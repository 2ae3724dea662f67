"""Servers for tests, on loopback: each in a thread of its own while a `with` block lasts."""

import http.server
import threading
from types import TracebackType
from typing import Self


class Server(http.server.ThreadingHTTPServer):
    """`stop` is set when it ends, for what a handler does until then."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, handler: "type[Handler]") -> None:
        super().__init__((host, 0), handler)
        self.stop = threading.Event()

    def url(self, path: str = "") -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what is tested."""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self.shutdown()
        self.server_close()
        self._thread.join()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test says what was asked."""
