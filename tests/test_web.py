"""One address against servers on loopback: what is had, each fault's reason, and every bound of bytes, seconds and place."""

import asyncio
import gzip
import socket
import ssl
import threading
import time
import zlib
from pathlib import Path

import brotli
import pytest

from pipeline.config import Asking, Mirror
from pipeline.fetch import Try
from pipeline.header import wait_asked
from pipeline.web import Web
from tests.image_host import EXPECTED, JPEG, LOOPBACK, PNG, Origin


def get(url: str, tmp_path: Path, *, mirror: Mirror | None = None, **settings: object) -> tuple[Try, bytes | None]:
    """What one request brings."""
    asking = Asking.model_validate({"allowed_networks": LOOPBACK, "timeout": 3, "max_bytes": 10**6} | settings)

    async def ask() -> tuple[Try, bytes | None]:
        async with Web(asking, tmp_path, mirror) as web:
            address = web.address(url)
            assert address is not None
            made, body = await web.get(address)
            if body is None:
                return made, None
            with body:
                body.seek(0)
                return made, body.read()

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "reason"),
    {**EXPECTED, "/429-then-ok?web": "too_many_requests", "/503-then-ok?web": "server_error"}.items(),
)
def test_each_fault_has_its_reason(origin: Origin, path: str, reason: str, tmp_path: Path) -> None:
    if path in ("/429-then-ok", "/503-then-ok"):
        get(origin.url(path), tmp_path)
    made, body = get(origin.url(path), tmp_path)
    assert made.reason == reason, made
    assert (body is None) == (reason != "ok") == (made.detail != "")
    assert made.seconds < 4
    assert made.size <= 10**6 + 2**18
    assert list(tmp_path.iterdir()) == []


def test_an_attempt_tells_what_was_answered(origin: Origin, tmp_path: Path) -> None:
    started = time.time()
    made, body = get(origin.url("/moved"), tmp_path)
    assert body == JPEG
    assert (made.source, made.status, made.size, made.url) == ("web", 200, len(JPEG), origin.url("/jpeg"))
    assert ("content-type", "image/jpeg") in made.headers
    assert started <= made.when <= time.time()
    made, _ = get(origin.url("/429-for-an-hour"), tmp_path)
    assert (made.status, made.retry_after) == (429, 3600)
    made, _ = get(origin.url("/noai"), tmp_path)
    assert made.headers == [("x-robots-tag", "noai, noimageai")]
    assert made.size == 0  # the body of a refused image is not read


class Raw:
    """Answers every request with the same bytes, and keeps what it was asked."""

    def __init__(self, answer: bytes, context: ssl.SSLContext | None = None, drip: float = 0.0) -> None:
        self.answer, self.context, self.drip = answer, context, drip
        self.asked: list[bytes] = []
        self.connections = 0

    def __enter__(self) -> "Raw":
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()

    def _serve(self) -> None:
        while not self.stop.is_set():
            try:
                plain, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            try:
                with self.context.wrap_socket(plain, server_side=True) if self.context else plain as connection:
                    connection.settimeout(5)
                    while request := connection.recv(65536):
                        self.asked.append(request)
                        for part in [self.answer] if not self.drip else [bytes([b]) for b in self.answer]:
                            connection.sendall(part)
                            if self.stop.wait(self.drip):
                                return
            except OSError:
                continue

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    ("coding", "sent"),
    [("gzip", gzip.compress(PNG)), ("deflate", zlib.compress(PNG)), ("br", brotli.compress(PNG)), ("identity", PNG),
     ("GZIP", gzip.compress(PNG)), ("gzip", PNG), ("unheard-of", PNG)],
)  # fmt: skip
def test_a_body_that_comes_compressed_all_the_same_is_opened(coding: str, sent: bytes, tmp_path: Path) -> None:
    with Raw(response(sent, f"Content-Encoding: {coding}")) as server:
        made, body = get(server.url(), tmp_path)
        assert (made.reason, body) == ("ok", PNG)
        assert b"Accept-Encoding: identity" in server.asked[0]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_a_decompression_bomb_ends_at_the_byte_bound(coding: str, tmp_path: Path) -> None:
    bomb = PNG + bytes(50 * 10**6)
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "br": lambda data: brotli.compress(data, quality=1)}
    with Raw(response(pack[coding](bomb), f"Content-Encoding: {coding}")) as server:
        made, body = get(server.url(), tmp_path)
        assert (made.reason, body) == ("too_big", None)


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "svg"), (b"<html><svg/></html>", "not_an_image"),
     (b"", "not_an_image"), (b"GIF89a", "ok"), (b"x" * 10**5, "not_an_image"), (JPEG + b"<script>alert(1)</script>", "ok")],
)  # fmt: skip
def test_what_it_is_is_told_from_the_content(body: bytes, reason: str, tmp_path: Path) -> None:
    with Raw(response(body, "Content-Type: image/png")) as server:
        assert get(server.url(), tmp_path)[0].reason == reason


def test_who_asks_is_said_with_a_contact_and_no_more_than_needed(tmp_path: Path) -> None:
    with Raw(response(PNG)) as server:
        get(server.url(), tmp_path, user_agent="harvester/2", contact="mailto:me@example.org")
        [request] = server.asked
        lines = request.decode().split("\r\n")
        assert "User-Agent: harvester/2 (+mailto:me@example.org)" in lines
        sent = {line.split(":")[0] for line in lines[1:] if line}
        assert sent == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("/größe 1.jpg", b"GET /gr%C3%B6%C3%9Fe%201.jpg HTTP"),
        ("/a%20b%2F,w_1/./x.jpg?q={1}|2#part", b"GET /a%20b%2F,w_1/./x.jpg?q=%7B1%7D%7C2 HTTP"),
        ("/" + "a" * 10_000 + ".jpg", b"GET /" + b"a" * 10_000 + b".jpg HTTP"),
        ("/a\r\nX-Evil: 1", b"GET /aX-Evil:%201 HTTP"),
    ],
)
def test_an_address_is_asked_for_as_it_is(written: str, asked: bytes, tmp_path: Path) -> None:
    with Raw(response(PNG)) as server:
        assert get(server.url(written, "user:secret@127.0.0.1"), tmp_path)[1] == PNG
        assert server.asked[0].startswith(asked)
        assert b"secret" not in server.asked[0]
        assert f"Host: 127.0.0.1:{server.port}".encode() in server.asked[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"])
def test_a_private_address_is_refused_before_any_connection_however_it_is_written(host: str, tmp_path: Path) -> None:
    with Raw(response(PNG)) as server:
        made, _ = get(server.url(host=host), tmp_path, allowed_networks=[])
        assert made.reason in {"refused_address", "bad_address"}
        assert server.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_inside_is_refused_and_the_server_there_sees_nothing(
    status: int, inside: Origin, tmp_path: Path
) -> None:
    with Raw(response(b"", f"Location: {inside.url('/jpeg')}", status=f"{status} Moved")) as server:
        made, _ = get(server.url(), tmp_path)
        assert (made.reason, made.url) == ("refused_address", inside.url("/jpeg"))
    assert inside.asked == {}


def test_a_redirect_goes_so_far_and_never_in_a_circle(origin: Origin, tmp_path: Path) -> None:
    url = origin.url("/jpeg")
    for number in range(5):
        url = origin.url(f"/to?{url}") if number < 4 else url
    assert get(url, tmp_path)[0].reason == "ok"
    before = origin.asked["/loop"]
    assert get(origin.url("/loop"), tmp_path)[0].reason == "bad_redirect"
    assert origin.asked["/loop"] == before + 1


def test_a_mirror_may_stand_inside_but_opens_its_own_port_alone(origin: Origin, tmp_path: Path) -> None:
    mirror = Mirror(address=origin.url("/to?{url}"))
    made, body = get(origin.url("/jpeg"), tmp_path, mirror=mirror, allowed_networks=[])
    assert (made.source, body) == ("mirror", JPEG)
    with Raw(response(PNG)) as other:
        made, _ = get(other.url(), tmp_path, mirror=mirror, allowed_networks=[])
        assert made.reason == "refused_address"
        assert other.connections == 0


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("/{url}", b"GET /http://a.example/b%20c.png?d=%C3%BC HTTP"),
        ("/web/2020im_/{url}", b"GET /web/2020im_/http://a.example/b%20c.png?d=%C3%BC HTTP"),
        ("/get?of={quoted}&x=1", b"GET /get?of=http%3A%2F%2Fa.example%2Fb%2520c.png%3Fd%3D%25C3%25BC&x=1 HTTP"),
    ],
)
def test_the_address_in_a_mirror_s_is_as_it_is_or_quoted(address: str, asked: bytes, tmp_path: Path) -> None:
    with Raw(response(PNG)) as server:
        mirror = Mirror(address=server.url(address))
        assert get("http://me@a.example/b c.png?d=ü#e", tmp_path, mirror=mirror)[1] == PNG
        assert server.asked[0].startswith(asked)


@pytest.mark.parametrize("body", [b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 999, response(PNG * 9)[:-1]])
def test_a_server_that_drips_ends_at_the_deadline(body: bytes, tmp_path: Path) -> None:
    with Raw(body, drip=0.05) as server:
        made, _ = get(server.url(), tmp_path, timeout=0.6)
        assert made.reason == "timed_out"
        assert 0.5 < made.seconds < 2


def test_silence_ends_sooner_than_the_deadline(origin: Origin, tmp_path: Path) -> None:
    made, _ = get(origin.url("/hang?silent"), tmp_path, silence=0.3)
    assert made.reason == "timed_out"
    assert made.seconds < 2


@pytest.mark.parametrize(
    "answer",
    [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000,
     b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n", b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"],
)  # fmt: skip
def test_an_answer_that_is_none_is_a_failure_and_no_error(answer: bytes, tmp_path: Path) -> None:
    with Raw(answer) as server:
        made, body = get(server.url(), tmp_path, timeout=1)
        assert body is None
        assert made.reason in {"network_error", "timed_out", "bad_redirect", "bad_address", "not_an_image", "gone"}
        assert "0x" not in made.detail


def test_a_name_that_leads_nowhere_is_told_and_remembered(tmp_path: Path) -> None:
    async def ask() -> list[str]:
        async with Web(Asking(timeout=20), tmp_path) as web:
            made = [(await web.get("http://no-such-name.invalid/"))[0] for _ in range(3)]
            return [one.reason for one in made]

    assert set(asyncio.run(ask())) <= {"no_such_host", "network_error", "timed_out"}


def test_a_connection_is_kept_where_it_is_worth_it(tmp_path: Path) -> None:
    async def ask(server: Raw, keep: bool) -> None:
        async with Web(Asking(allowed_networks=LOOPBACK), tmp_path) as web:
            for _ in range(3):
                _, body = await web.get(server.url(), keep)
                assert body is not None
                body.close()

    for keep in (True, False):
        with Raw(response(PNG)) as server:
            asyncio.run(ask(server, keep))
            assert len(server.asked) == 3
            assert [b"Connection: close" in request for request in server.asked] == 3 * [not keep]
            assert not keep or server.connections == 1


def test_a_large_body_waits_in_a_file(tmp_path: Path) -> None:
    large = PNG + bytes(3 * 10**6)
    with Raw(response(large)) as server:
        assert get(server.url(), tmp_path, max_bytes=10**7)[1] == large


def test_certificates_are_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: ssl.SSLContext
) -> None:
    with Raw(response(PNG), certificate) as server:
        made, _ = get(server.url(scheme="https"), tmp_path)
        assert (made.reason, made.detail) == ("network_error", "ClientConnectorCertificateError")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        assert get(server.url(scheme="https"), tmp_path)[1] == PNG
        assert get(server.url(scheme="https"), tmp_path, allowed_networks=[])[0].reason == "refused_address"


def test_a_proxy_of_the_environment_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Raw(response(PNG)) as proxy, Raw(response(JPEG)) as server:
        monkeypatch.setenv("http_proxy", proxy.url())
        assert get(server.url(), tmp_path)[1] == JPEG
        assert proxy.connections == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120), (" 0 ", 0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("Thu, 01 Jan 1970 00:16:50 GMT", 10),
        ("Mon, 99 Foo 0000 00:00:00 GMT", None), ("Fri, 31 Dec 9999 23:59:59 -9999", None),
        (", ,", None),
        ("-1", None), ("1.5", None), ("soon", None), ("", None), (None, None), ("9" * 30, None), ("١", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert wait_asked(header, now=1000 if header != "Fri, 31 Dec 1999 23:59:59 GMT" else 2e9) == seconds
