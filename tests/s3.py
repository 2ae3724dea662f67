"""An S3 on loopback, as moto's server has it; and one that has its bad days."""

import http.client
import http.server
import random
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from pipeline.places import place

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def serving_s3(bucket: str, faults: float = 0, delay: float = 0, seed: int = 1) -> Iterator["Unreliable | None"]:
    """Has s3:// in this process, and in those it starts, mean a server with an empty bucket, asked by way of one that fails
    that share of the calls and delays as many by so many seconds."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    # What servers of this process held before is there still.
    urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST"), timeout=10).close()
    proxy = Unreliable(address, faults, delay, seed) if faults else None
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in VARIABLES.items():
                patch.setenv(name, value)
            patch.setenv("AWS_ENDPOINT_URL", address)
            S3FileSystem.clear_instance_cache()
            place(f"s3://{bucket}/x").fs.mkdir(bucket)  # type: ignore[attr-defined]
            S3FileSystem.clear_instance_cache()
            if proxy is not None:
                threading.Thread(target=proxy.serve_forever, daemon=True).start()
                patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_address[1]}")
            yield proxy
            S3FileSystem.clear_instance_cache()
    finally:
        if proxy is not None:
            proxy.shutdown()
            proxy.server_close()
        server.stop()


class Unreliable(http.server.ThreadingHTTPServer):
    """Passes calls on to `address`; some are answered 500 or 503 or not at all, some late, before or after they were
    passed on."""

    daemon_threads = True

    def __init__(self, address: str, faults: float, delay: float, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Pass)
        self.behind = urlsplit(address).netloc
        self.faults, self.delay = faults, delay
        self.dice, self.lock = random.Random(seed), threading.Lock()
        self.calls = self.failed = self.late = 0


class _Pass(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Unreliable

    def log_message(self, *_: object) -> None:
        pass

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            fate, when, how = (
                self.server.dice.random(),
                self.server.dice.random(),
                self.server.dice.choice("500 503 reset".split()),
            )
            self.server.calls += 1
            fails = fate < self.server.faults
            late = self.server.faults <= fate < 2 * self.server.faults
            self.server.failed += fails
            self.server.late += late
        if late:
            time.sleep(self.server.delay)
        if fails and when < 0.5:
            self._fail(how)
            return
        connection = http.client.HTTPConnection(self.server.behind)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if fails:  # what was asked for was done, but nobody is told
            self._fail(how)
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(data)

    def _fail(self, how: str) -> None:
        self.close_connection = True
        if how != "reset":
            self.send_response_only(int(how))
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass
