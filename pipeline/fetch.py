"""A web address in, what it answers out: one guarded GET, bounded in bytes and seconds, never into a private network.

A name is resolved once and the connection goes to the very address that was checked, again after every redirect, so
that neither a redirect nor a name server that changes its mind leads inside. Proxies of the environment are not used:
they would resolve the name a second time, out of reach of the check.

It blocks, and speaks through urllib.request, which is where img2dataset can be made to ask by it; consent asks by it from a
few threads. Images are asked for by `web`, thousands at once under the same rules; the crawl's own files, on hosts that the
user named, by `remote`.
"""

import http.client
import io
import ipaddress
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from typing import IO, Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pipeline.header import wait_asked
from pipeline.pixels import is_svg, sniff
from pipeline.signals import HEADERS, MAX_VALUE

Reason = Literal[
    "bad_address", "bad_redirect", "client_error", "crashed", "forbidden", "gone", "host_left_alone", "network_error",
    "no_such_host", "not_an_image", "opted_out", "refused_address", "server_error", "svg", "timed_out", "too_big",
    "too_many_requests",
]  # fmt: skip
# What may come right when it is asked again; all else brings the same answer.
PASSING: frozenset[Reason] = frozenset(
    {"crashed", "host_left_alone", "network_error", "server_error", "timed_out", "too_many_requests"}
)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_REDIRECTS = 5
KEPT = HEADERS | {"content-type", "content-encoding", "etag", "last-modified", "retry-after"}  # headers of an answer
# Refused though `ipaddress` calls them global, in some version of Python or in all: IANA's protocol assignments (where
# Oracle's cloud answers metadata), RFC 8215's translation of private networks, and the host agent of Azure's machines.
SPECIAL = [ipaddress.ip_network(network) for network in ("192.0.0.0/24", "64:ff9b:1::/48", "168.63.129.16/32")]
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
# RFC 3986: reserved characters and those already encoded stay; what else a request line cannot hold is encoded.
_SAFE = "%/:?#[]@!$&'()*+,;=~"
_CHUNK = 65536


class Failure(Exception):
    """Why nothing came; `retry_after` is the wait in seconds that the server asked for, `status` what it answered."""

    status: int | None = None

    def __init__(self, reason: Reason, detail: str, retry_after: float | None = None) -> None:
        detail = " ".join(detail.split())[:200]
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.retry_after = reason, detail, retry_after


@dataclass(slots=True)
class Try:
    """One request and the redirects that it led through. `size`: bytes of the last body that were read."""

    source: str
    url: str  # after redirects
    when: float  # seconds since 1970
    seconds: float = 0.0
    status: int | None = None
    reason: Literal["ok"] | Reason = "ok"
    detail: str = ""
    size: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)  # those of `KEPT`
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A success: status 2xx, the address after redirects, headers and the whole body as it was sent."""

    status: int
    url: str
    headers: Message
    data: bytes


def requestable(url: str) -> str | None:
    """`url` as it can be asked for, all ASCII, without fragment or credentials; None if it is no http(s) address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host:
            return None
        host = f"[{host}]" if ":" in host else host.encode("idna").decode() if not host.isascii() else host
        netloc = host if port is None else f"{host}:{port}"
        path, query = (quote(part, safe=_SAFE) for part in (parts.path or "/", parts.query))
    except ValueError:  # a port that is no number, a half bracket, a lone surrogate, a label over 63 characters
        return None
    return urlunsplit((parts.scheme, netloc, path, query, ""))


def permitted(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether `address` is public, or lies in one of the `allowed` networks; an embedded IPv4 address decides."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return permitted(inner, allowed)
        if address.is_site_local:
            return False
    if any(address in network for network in allowed):
        return True
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return address.is_global and not special and not any(address in network for network in SPECIAL)


class Fetcher:
    """Asks with one user agent, under one set of limits; may be shared by threads."""

    def __init__(self, *, user_agent: str, max_bytes: int, allowed_networks: Sequence[str] = ()) -> None:
        self.user_agent, self.max_bytes = user_agent, max_bytes
        self.opener = urllib.request.OpenerDirector()
        # No handlers but these: no file, ftp or data addresses, no proxy, no cookies.
        for handler in (
            _Connect([ipaddress.ip_network(network) for network in allowed_networks]),
            _Redirect(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ):
            self.opener.add_handler(handler)

    def get(self, url: str, *, seconds: float, inspect: Callable[[Message, bytes], None] | None = None) -> Response:
        """What `url` answers within `seconds`, redirects and body included (name resolution alone is not cut short).

        `inspect` sees the headers and the first bytes (up to 64 KiB) and may raise `Failure` to stop there.
        Raises `Failure`, and nothing else.
        """
        try:
            request = urllib.request.Request(url)
        except ValueError as error:
            raise _failure(error) from error
        return self.send(request, seconds=seconds, inspect=inspect)

    def send(
        self,
        request: urllib.request.Request,
        *,
        seconds: float,
        inspect: Callable[[Message, bytes], None] | None = None,
    ) -> Response:
        """The same for a request that was made elsewhere, a POST perhaps."""
        try:
            request.add_header("User-Agent", self.user_agent)
            request.deadline = time.monotonic() + seconds  # type: ignore[attr-defined]
            with self.opener.open(request, timeout=seconds) as response:
                return Response(response.status, response.url, response.headers, self._body(response, inspect))
        except Exception as error:
            raise _failure(error) from error

    def _body(self, response: http.client.HTTPResponse, inspect: Callable[[Message, bytes], None] | None) -> bytes:
        promised = response.length  # what Content-Length says; None if it says nothing
        if promised is not None and promised > self.max_bytes:
            raise Failure("too_big", f"{promised} bytes promised, at most {self.max_bytes}")
        chunks: list[bytes] = []
        size = 0
        while chunk := response.read(_CHUNK):
            if inspect is not None and not chunks:
                inspect(response.headers, chunk)
            chunks.append(chunk)
            size += len(chunk)
            if size > self.max_bytes:
                raise Failure("too_big", f"at most {self.max_bytes} bytes")
        if inspect is not None and not chunks:
            inspect(response.headers, b"")
        if promised is not None and size < promised:  # http.client says so only to those who read all at once
            raise Failure("network_error", f"ended after {size} of {promised} bytes")
        return b"".join(chunks)


class _Bounded:
    """A socket whose every read ends by one deadline, so that a server cannot drip forever."""

    deadline: float = float("inf")

    def recv_into(self, *args: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)  # type: ignore[attr-defined]
        return super().recv_into(*args)  # type: ignore[misc,no-any-return]


class _Socket(_Bounded, socket.socket):
    pass


class _TLSSocket(_Bounded, ssl.SSLSocket):
    pass


class _HTTP(http.client.HTTPConnection):
    deadline: float
    allowed: Sequence[Network]

    def connect(self) -> None:
        self.sock = _dial(self.host, self.port, self.allowed, self.deadline)


class _HTTPS(http.client.HTTPSConnection, _HTTP):
    """Python finds `_HTTP.connect` where http.client's HTTPSConnection calls its parent's, then speaks TLS over it."""

    sock: Any

    def connect(self) -> None:
        super().connect()
        self.sock.deadline = self.deadline


class _Connect(urllib.request.AbstractHTTPHandler):
    def __init__(self, allowed: Sequence[Network]) -> None:
        super().__init__()
        self.allowed = allowed
        self.tls = ssl.create_default_context()
        self.tls.sslsocket_class = _TLSSocket

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self._open(_HTTP, request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self._open(partial(_HTTPS, context=self.tls), request)

    def _open(self, kind: Callable[..., _HTTP], request: urllib.request.Request) -> http.client.HTTPResponse:
        def connection(host: str, **options: Any) -> _HTTP:
            made = kind(host, **options)
            made.deadline, made.allowed = request.deadline, self.allowed  # type: ignore[attr-defined]
            return made

        return self.do_open(connection, request)

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_


class _Redirect(urllib.request.HTTPRedirectHandler):
    max_redirections = MAX_REDIRECTS
    max_repeats = 2

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> Any:
        fp.close()  # urllib reads a redirect's body to its end, however long that is
        return super().http_error_302(req, io.BytesIO(), code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: urllib.request.Request, *args: Any) -> urllib.request.Request | None:
        request = super().redirect_request(req, *args)
        if request is not None:
            request.deadline = req.deadline  # type: ignore[attr-defined]
        return request


def look_up(host: str, port: int | None = None) -> list[Any]:
    """What `socket.getaddrinfo` answers for connections to a host. Raises `Failure`."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        transient = error.errno == socket.EAI_AGAIN
        raise Failure("network_error" if transient else "no_such_host", f"{host}: {error.strerror}") from None
    except UnicodeError:
        raise Failure("bad_address", f"{host[:80]} is no host name") from None


def _dial(host: str, port: int, allowed: Sequence[Network], deadline: float) -> socket.socket:
    """A connection to the first permitted address of `host` that accepts one."""
    found = look_up(host, port)
    good = [entry for entry in found if permitted(ipaddress.ip_address(entry[4][0]), allowed)]
    if not good:
        raise Failure("refused_address", f"{host} is {found[0][4][0]}, not a public address")
    for number, (family, kind, protocol, _, address) in enumerate(good, 1):
        connection = _Socket(family, kind, protocol)
        connection.deadline = deadline
        try:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            connection.connect(address)
            return connection
        except OSError:
            connection.close()
            if number == len(good):
                raise
    raise AssertionError("unreachable")


def _failure(error: Exception) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return status_failure(error.code, error.headers.get("Retry-After"))
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return Failure("timed_out", "no complete answer in time")
    if isinstance(cause, str | http.client.InvalidURL | ValueError) and not isinstance(cause, ssl.SSLError):
        return Failure("bad_address", str(cause))
    return Failure("network_error", f"{type(cause).__name__}: {cause}")


def status_failure(status: int, retry_after: str | None) -> Failure:
    """What a status other than 2xx means, with the wait that the server asks for."""
    failure = _status_failure(status, f"HTTP {status}", retry_after)
    failure.status = status
    return failure


def _status_failure(status: int, detail: str, retry_after: str | None) -> Failure:
    if status in (404, 410):
        return Failure("gone", detail)
    if status in (401, 402, 403, 407, 451):
        return Failure("forbidden", detail)
    if status == 429:
        return Failure("too_many_requests", detail, wait_asked(retry_after))
    if status >= 500:
        return Failure("server_error", detail, wait_asked(retry_after))
    return Failure("bad_redirect" if 300 <= status < 400 else "client_error", detail)


def check_image(head: bytes) -> None:
    """Stops at what is no image by its first bytes, whatever its Content-Type says."""
    if sniff(head) is None:
        raise Failure("svg" if is_svg(head) else "not_an_image", f"begins with {head[:16]!r}")


def kept_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers that are worth keeping, names in lower case, values cut."""
    return [(name.lower(), str(value)[:MAX_VALUE]) for name, value in headers if name.lower() in KEPT]
