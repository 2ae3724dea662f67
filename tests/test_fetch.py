"""One guarded GET: which addresses may be asked, and that neither a server nor a name leads past the bounds."""

import ipaddress
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.fetch import Failure, Fetcher, permitted, requestable
from tests.loopback import Handler, Server

BODY = bytes(range(256)) * 40


class Host(Server):
    def __init__(self) -> None:
        super().__init__("127.0.0.1", _Handler)
        self.asked: list[str] = []


class _Handler(Handler):
    server: Host

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/endless-redirect-body":
            self.send_response(302)
            self.send_header("Location", "/body")
            self.end_headers()
            while not self.server.stop.is_set():
                self.wfile.write(bytes(65536))
        elif self.path == "/dripping-header":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.server.stop.wait(0.05):
                self.wfile.write(b"x")
        elif self.path == "/dripping-body":
            self.send_response(200)
            self.end_headers()
            while not self.server.stop.wait(0.05):
                self.wfile.write(b"x")
        elif self.path == "/chunked-endless":
            self.protocol_version = "HTTP/1.1"
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while not self.server.stop.is_set():
                self.wfile.write(b"1000\r\n" + bytes(4096) + b"\r\n")
        elif self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)


@pytest.fixture
def server() -> Iterator[Host]:
    with Host() as server:
        yield server


def url(server: Host, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
    return f"{scheme}://{host}:{server.server_address[1]}{path}"


def fetcher(*networks: str, max_bytes: int = 10**6) -> Fetcher:
    return Fetcher(user_agent="carnac-test", max_bytes=max_bytes, allowed_networks=networks)


def failure(fetcher: Fetcher, url: str, seconds: float = 5) -> Failure:
    with pytest.raises(Failure) as caught:
        fetcher.get(url, seconds=seconds)
    return caught.value


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_a_public_address_is_permitted(address: str) -> None:
    assert permitted(ipaddress.ip_address(address), [])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.200",
        "169.254.169.254", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
        "2001:db8::1", "64:ff9b:1::7f00:1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused_however_it_is_written(address: str) -> None:
    assert not permitted(ipaddress.ip_address(address), [])


def test_an_allowed_network_permits_its_own_addresses_alone() -> None:
    allowed = [ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("fd00::/64")]
    assert permitted(ipaddress.ip_address("127.0.0.1"), allowed)
    assert permitted(ipaddress.ip_address("::ffff:127.0.0.1"), allowed)
    assert permitted(ipaddress.ip_address("fd00::7"), allowed)
    assert not permitted(ipaddress.ip_address("127.0.0.2"), allowed)
    assert not permitted(ipaddress.ip_address("fd00:0:0:1::7"), allowed)


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("http://example.org", "http://example.org/"),
        ("https://Example.org:8443/a?b=c#d", "https://example.org:8443/a?b=c"),
        ("http://example.org/größe 1.jpg", "http://example.org/gr%C3%B6%C3%9Fe%201.jpg"),
        ("http://example.org/a%20b%2F,w_1/x.jpg?q={1}|2", "http://example.org/a%20b%2F,w_1/x.jpg?q=%7B1%7D%7C2"),
        ("http://bücher.example/x", "http://xn--bcher-kva.example/x"),
        ("http://user:secret@example.org/x", "http://example.org/x"),
        ("http://[2606:2800::1]:80/x", "http://[2606:2800::1]:80/x"),
        ("http://example.org/a\r\nHost: inner", "http://example.org/aHost:%20inner"),
    ],
)
def test_an_address_is_asked_for_in_ascii_without_credentials(written: str, asked: str) -> None:
    assert requestable(written) == asked


@pytest.mark.parametrize(
    "written",
    [
        "", "a.jpg", "//host/a.jpg", "data:image/png;base64,AAAA", "file:///etc/passwd", "ftp://host/a", "http:///a",
        "http://host:port/a", "http://host:99999999/a", "http://[::1/a", "http://host/\ud800",
        "http://" + "ü" * 80 + "/",
    ],
)  # fmt: skip
def test_what_is_no_web_address_is_not_asked_for(written: str) -> None:
    assert requestable(written) is None


def test_an_answer_is_handed_on_as_it_was_sent(server: Host) -> None:
    answer = fetcher("127.0.0.1/32").get(url(server, "/body"), seconds=5)
    assert (answer.status, answer.data, answer.url) == (200, BODY, url(server, "/body"))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "0", "[::ffff:127.0.0.1]"]
)
def test_a_private_address_is_refused_before_any_connection_however_it_is_written(server: Host, host: str) -> None:
    assert failure(fetcher(), url(server, "/body", host)).reason == "refused_address"
    assert server.asked == []


@pytest.mark.parametrize(
    "target", ["http://127.0.0.2:{port}/body", "http://169.254.169.254/latest/", "//[::1]:{port}/"]
)
def test_a_redirect_into_a_network_that_is_not_allowed_is_refused(server: Host, target: str) -> None:
    path = "/to/" + target.format(port=server.server_address[1])
    assert failure(fetcher("127.0.0.1/32"), url(server, path)).reason == "refused_address"
    assert server.asked == [path]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "gopher://127.0.0.1/"])
def test_a_redirect_leads_to_web_addresses_alone(server: Host, target: str) -> None:
    assert failure(fetcher("127.0.0.1/32"), url(server, "/to/" + target)).reason in {"bad_redirect", "bad_address"}


def test_redirects_are_followed_up_to_a_cap(server: Host) -> None:
    answer = fetcher("127.0.0.1/32").get(url(server, "/to//to//to//body"), seconds=5)
    assert answer.data == BODY
    assert failure(fetcher("127.0.0.1/32"), url(server, "/to/" * 9 + "/body")).reason == "bad_redirect"


def test_the_body_of_a_redirect_is_not_read(server: Host) -> None:
    assert fetcher("127.0.0.1/32").get(url(server, "/endless-redirect-body"), seconds=5).data == BODY


@pytest.mark.parametrize("path", ["/dripping-header", "/dripping-body"])
def test_a_server_that_drips_ends_at_the_deadline(server: Host, path: str) -> None:
    started = time.monotonic()
    assert failure(fetcher("127.0.0.1/32"), url(server, path), seconds=0.5).reason == "timed_out"
    assert time.monotonic() - started < 3


def test_the_byte_bound_is_exact_and_holds_without_a_content_length(server: Host) -> None:
    assert fetcher("127.0.0.1/32", max_bytes=len(BODY)).get(url(server, "/body"), seconds=5).data == BODY
    assert failure(fetcher("127.0.0.1/32", max_bytes=len(BODY) - 1), url(server, "/body")).reason == "too_big"
    assert failure(fetcher("127.0.0.1/32"), url(server, "/chunked-endless")).reason == "too_big"


def test_a_proxy_of_the_environment_is_not_used(server: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", url(server, ""))
    assert failure(fetcher("127.0.0.1/32"), "http://127.0.0.2:9/body").reason == "refused_address"
    assert server.asked == []


def test_a_name_that_does_not_exist_is_told_apart_from_a_server_that_is_down() -> None:
    assert failure(fetcher(), "http://no-such-name.invalid/").reason in {"no_such_host", "network_error"}
    assert failure(fetcher("127.0.0.1/32"), "http://127.0.0.1:9/").reason == "network_error"


def test_https_is_verified_and_bounded_alike(
    server: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: ssl.SSLContext
) -> None:
    server.socket = certificate.wrap_socket(server.socket, server_side=True)
    secure = url(server, "/body", scheme="https")

    unknown = failure(fetcher("127.0.0.1/32"), secure)
    assert unknown.reason == "network_error"
    assert "certificate" in unknown.detail.lower()

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    assert fetcher("127.0.0.1/32").get(secure, seconds=5).data == BODY
    assert failure(fetcher(), secure).reason == "refused_address"
    started = time.monotonic()
    dripping = failure(fetcher("127.0.0.1/32"), url(server, "/dripping-body", scheme="https"), seconds=0.5)
    assert dripping.reason == "timed_out"
    assert time.monotonic() - started < 3
