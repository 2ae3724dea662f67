"""A host of images on loopback that misbehaves, by path, and what must be said of each."""

import io
import socket
from collections import Counter

from PIL import Image

from tests.loopback import Handler, Server

LOOPBACK = ["127.0.0.1/32"]


def picture(format: str, side: int = 40) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((side, side), 90).save(out, format)
    return out.getvalue()


JPEG, PNG, LARGE = picture("jpeg"), picture("png"), picture("png", 400)


class Origin(Server):
    """Answers by path; `asked` counts the requests that arrived, `agents` who sent them."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__(host, _Handler)
        self.asked: Counter[str] = Counter()
        self.agents: set[str] = set()


class _Handler(Handler):
    server: Origin

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        self.server.agents.add(self.headers["User-Agent"])
        first = self.server.asked[self.path] == 1
        match self.path.split("?")[0]:
            case "/jpeg":
                self.send(200, JPEG, Content_Type="image/jpeg")
            case "/png-called-text" | "/b%C3%BCcher%201":
                self.send(200, PNG, Content_Type="text/plain")
            case "/large":
                self.send(200, LARGE)
            case "/html":
                self.send(200, b"<!doctype html><p>This is no image.", Content_Type="image/jpeg")
            case "/empty":
                self.send(200)
            case "/429-then-ok" | "/503-then-ok":
                status = int(self.path[1:4])
                self.send(status, Retry_After="0") if first else self.send(200, JPEG)
            case "/429-for-an-hour":
                self.send(429, Retry_After="3600")
            case "/noai":
                self.send(200, JPEG, X_Robots_Tag="noai, noimageai")
            case "/tdm":
                self.send(200, JPEG, tdm_reservation="1")
            case "/declared-200-mb":
                self.send(200, JPEG, Content_Length="200000000")
            case "/cut":
                self.send(200, JPEG[:-100], Content_Length=str(len(JPEG)))
            case "/endless":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(JPEG)
                while not self.server.stop.is_set():
                    self.wfile.write(bytes(65536))
            case "/slow":
                self.send_response(200)
                self.end_headers()
                for byte in JPEG:
                    self.wfile.write(bytes([byte]))
                    if self.server.stop.wait(0.1):
                        return
            case "/hang":
                self.server.stop.wait(120)
            case "/reset":
                self.connection.shutdown(socket.SHUT_RDWR)
            case "/loop":
                self.send(302, Location="/loop")
            case "/moved":
                self.send(301, Location="/jpeg")
            case "/to":
                self.send(302, Location=self.path.partition("?")[2])
            case path:
                self.send(int(path[1:4]))


# Paths of `Origin`, and what comes of asking for them.
EXPECTED = {
    "/jpeg": "ok",
    "/png-called-text": "ok",
    "/bücher 1": "ok",
    "/moved": "ok",
    "/429-then-ok": "ok",
    "/503-then-ok": "ok",
    "/404": "gone",
    "/410": "gone",
    "/403": "forbidden",
    "/418": "client_error",
    "/500": "server_error",
    "/429-for-an-hour": "too_many_requests",
    "/html": "not_an_image",
    "/empty": "not_an_image",
    "/noai": "opted_out",
    "/tdm": "opted_out",
    "/declared-200-mb": "too_big",
    "/endless": "too_big",
    "/cut": "network_error",
    "/reset": "network_error",
    "/slow": "timed_out",
    "/hang": "timed_out",
    "/loop": "bad_redirect",
    "/to?file:///etc/passwd": "bad_redirect",
    "/to?http://169.254.169.254/latest/": "refused_address",
}
