"""An image's address in, what a server answers out: a GET that is guarded, bounded in bytes and seconds, and honest.

A name is resolved once, by us, and the connection goes to the very address that was checked, again after every
redirect; connections are kept alive, names are remembered for a while. No proxy, no cookies, no decompression on the
way: bodies are asked for as they are, and one that comes compressed all the same is opened within the same bound.
"""

import asyncio
import ipaddress
import socket
import ssl
import tempfile
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pipeline.config import Asking, Mirror
from pipeline.consent.headers import refusal
from pipeline.fetch import (
    MAX_REDIRECTS,
    Failure,
    Try,
    check_image,
    kept_headers,
    look_up,
    permitted,
    requestable,
    status_failure,
)
from pipeline.payload import decoded
from pipeline.pixels import sniff
from pipeline.signals import header_signals

REDIRECTS = {301, 302, 303, 307, 308}
IN_MEMORY = 2**20  # bytes of a body; what is longer waits in a file
HEAD = 4096  # bytes by which a body is told from what is no image
IDLE = 5  # seconds that an unused connection is kept
NAMES = 10_000  # that are remembered,
NAMES_FOR = 300  # seconds each
LOOKUPS = 64  # at once; the system's resolver takes a thread each


class Web:
    """Asks a mirror or the live web with one user agent, inside a running event loop."""

    def __init__(self, asking: Asking, scratch: Path, mirror: Mirror | None = None) -> None:
        self.asking, self.scratch, self.mirror = asking, scratch, mirror
        self._source = "mirror" if mirror else "web"
        self._allowed = [ipaddress.ip_network(network) for network in asking.allowed_networks]
        # The mirror may stand in a private network, for the user named it. That opens its own port, no other.
        parts = urlsplit(mirror.address.partition("{")[0]) if mirror else None
        self._own = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)) if parts else None

    async def __aenter__(self) -> Self:
        self._names = _Names(self)
        connector = aiohttp.TCPConnector(
            limit=0, resolver=self._names, use_dns_cache=False, keepalive_timeout=IDLE, ssl=ssl.create_default_context()
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": self.asking.agent, "Accept": "image/*, */*;q=0.1", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.asking.connect, sock_read=self.asking.silence),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._names.close()

    def address(self, url: str) -> str | None:
        """Where `url` is asked for, or None if it is no web address."""
        asked = requestable(url)
        if asked is None or self.mirror is None:
            return asked
        return requestable(self.mirror.address.replace("{url}", asked).replace("{quoted}", quote(asked, safe="")))

    async def get(self, address: str, keep: bool = True) -> tuple[Try, IO[bytes] | None]:
        """What `address` answers, within `timeout` seconds; the body is there where the reason is "ok". `keep`: whether
        the connection is worth keeping. A kept one that was closed meanwhile is opened anew, and asked, once."""
        made = Try(self._source, address, time.time())
        started = time.monotonic()
        body: IO[bytes] | None = None
        try:
            async with asyncio.timeout(self.asking.timeout):
                body = await self._follow(made, keep)
        except Exception as error:
            failure = _failure(error)
            made.reason, made.detail, made.retry_after = failure.reason, failure.detail, failure.retry_after
        made.seconds = round(time.monotonic() - started, 3)
        return made, body

    async def _follow(self, made: Try, keep: bool) -> IO[bytes]:
        seen: set[str] = set()
        headers = None if keep else {"Connection": "close"}
        while made.url not in seen and len(seen) <= MAX_REDIRECTS:
            seen.add(made.url)
            url = URL(made.url, encoded=True)
            assert url.host is not None
            self._check_literal(url.host, url.port or 0)
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                made.status = response.status
                made.headers = kept_headers(response.headers.items())
                if response.status not in REDIRECTS:
                    return await self._body(response, made)
                target = requestable(urljoin(made.url, response.headers.get("Location", "")))
                if target is None:
                    raise Failure("bad_redirect", "to what is no http or https address")
                made.url = target
        raise Failure("bad_redirect", "in a circle" if made.url in seen else f"more than {MAX_REDIRECTS}")

    async def _body(self, response: aiohttp.ClientResponse, made: Try) -> IO[bytes]:
        if not 200 <= response.status < 300:
            raise status_failure(response.status, response.headers.get("Retry-After"))
        if no := refusal(header_signals(made.headers), self.asking.signals, self.asking.strict):
            raise Failure("opted_out", f"{no[0]}: {no[1].value}")
        limit = self.asking.max_bytes
        if (response.content_length or 0) > limit:
            raise Failure("too_big", f"{response.content_length} bytes promised, at most {limit}")
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        body: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self.scratch))  # noqa: SIM115
        try:
            head, judged = b"", coding not in ("", "identity")
            async for chunk in response.content.iter_any():
                made.size += len(chunk)
                if made.size > limit:
                    raise Failure("too_big", f"at most {limit} bytes")
                body.write(chunk)
                if not judged:
                    head += chunk
                    if judged := sniff(head) is not None or len(head) >= HEAD:
                        check_image(head)
            if coding not in ("", "identity"):
                body.seek(0)
                opened, cut = decoded(body.read(), coding, limit)
                if cut:
                    raise Failure("too_big", f"more than {limit} bytes, or damaged, as {coding[:20]}")
                body.close()
                body = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self.scratch))  # noqa: SIM115
                body.write(opened)
                head, judged = opened[:HEAD], False
            if not judged:
                check_image(head)
        except BaseException:
            body.close()
            raise
        return body

    def check(self, address: str, host: str, port: int) -> bool:
        """Whether a connection for `host` and `port` may go to this IP address."""
        return (host, port) == self._own or permitted(ipaddress.ip_address(address), self._allowed)

    def _check_literal(self, host: str, port: int) -> None:
        """A host that is an IP address is never resolved, so it is checked here."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return
        if not self.check(host, host, port):
            raise Failure("refused_address", f"{host} is not a public address")

    async def addresses(self, url: str) -> Sequence[str]:
        """The IP addresses of a URL's host, as a request would find them; none where the name leads nowhere."""
        host = URL(url, encoded=True).host or ""
        try:
            ipaddress.ip_address(host)
            return [host]
        except ValueError:
            try:
                return [address for _, address in await self._names.look_up(host)]
            except (Failure, OSError):
                return []


Entries = list[tuple[int, str]]  # family and IP address


class _Names(AbstractResolver):
    """Resolves names by the system's resolver, with a deadline; remembers the answers of the last minutes, the bad ones
    too, and hands out none that may not be asked."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._known: OrderedDict[str, tuple[float, Entries | Failure]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[Entries]] = {}
        self._threads = ThreadPoolExecutor(LOOKUPS, "names")

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        entries = await self.look_up(host)
        good = [entry for entry in entries if self._web.check(entry[1], host, port)]
        if not good:
            raise Failure("refused_address", f"{host} is {entries[0][1]}, not a public address")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in good
        ]

    async def look_up(self, host: str) -> Entries:
        now = time.monotonic()
        until, known = self._known.get(host, (0.0, []))
        if until > now:
            if isinstance(known, Failure):
                raise Failure(known.reason, known.detail)
            return known
        task = self._asked.get(host)
        if task is None:
            task = self._asked[host] = asyncio.create_task(self._ask(host))
            task.add_done_callback(lambda done: self._remember(host, done))
        return await asyncio.shield(task)

    async def _ask(self, host: str) -> Entries:
        loop = asyncio.get_running_loop()
        lookup = loop.run_in_executor(self._threads, _system_lookup, host)
        try:
            async with asyncio.timeout(self._web.asking.connect):
                return await lookup
        except TimeoutError:
            raise Failure("timed_out", f"{host}: no name server answered in time") from None

    def _remember(self, host: str, done: "asyncio.Task[Entries]") -> None:
        del self._asked[host]
        if done.cancelled():
            return
        error = done.exception()
        if error is None or (isinstance(error, Failure) and error.reason in ("no_such_host", "bad_address")):
            said = error if isinstance(error, Failure) else done.result()
            self._known[host] = time.monotonic() + NAMES_FOR, said
            self._known.move_to_end(host)
            if len(self._known) > NAMES:
                self._known.popitem(last=False)


def _system_lookup(host: str) -> Entries:
    # An IPv6 address may carry its zone, which no public one has.
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in look_up(host)))


def _failure(error: Exception) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, TimeoutError):  # ours, or aiohttp's of connecting and of silence
        return Failure("timed_out", "no complete answer in time")
    if isinstance(error, aiohttp.InvalidURL | ValueError) and not isinstance(error, ssl.SSLError):
        return Failure("bad_address", str(error))
    if isinstance(error, aiohttp.ClientPayloadError):
        return Failure("network_error", "the body ended before its end")
    # Messages of the system name our own port or an object's place in memory; the class says enough.
    return Failure("network_error", type(error).__name__)
