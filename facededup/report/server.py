"""A web server for one person on one machine.

It listens on the loopback address, and answers only requests that carry the secret of its address (the first
part of every path), that name this server as their host (so that no other site's name can be made to point
here), and, where they change something, that come from its own page.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from facededup.errors import FacededupError, JobError, StoreLockedError, UsageError
from facededup.images.decode import pillow_limits
from facededup.report.review import Review

LOOPBACK = "127.0.0.1"
LONGEST_POST = 64_000_000
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_PICTURE = re.compile(r"picture/(\d{1,9})/(\d{1,4})")


class ReviewServer(ThreadingHTTPServer):
    """Serves one review until it is shut down. A context manager.

    Attributes:
        url: Where its page is, secret included.

    Args:
        review: What it serves.
        port: On the loopback address; 0 for any that is free.

    Raises:
        JobError: The port is taken.
    """

    daemon_threads = True

    def __init__(self, review: Review, port: int) -> None:
        self.review = review
        self.base = f"/{secrets.token_urlsafe(24)}/"
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as exc:
            raise JobError(f"cannot listen on port {port}: {exc.strerror}; give another --port") from exc
        self.host = f"{LOOPBACK}:{self.server_address[1]}"
        self.url = f"http://{self.host}{self.base}"
        self._limits = pillow_limits()

    def __enter__(self) -> Self:
        self._limits.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server_close()
        self.review.close()
        self._limits.__exit__(None, None, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""


def _asked(body: bytes) -> tuple[list[Any], int]:
    """The entries and the revision that a page sent."""
    try:
        asked = json.loads(body)
        entries, revision = asked["entries"], asked["revision"]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise UsageError("the request is not one of the page's") from exc
    if not isinstance(entries, list) or type(revision) is not int or revision < 0:
        raise UsageError("the request is not one of the page's")
    return entries, revision


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version = "facededup"
    sys_version = ""

    def do_GET(self) -> None:
        """The page and its pictures."""
        path = self._allowed()
        if path == "":
            self._answer(self.server.review.page(self.server.base), "text/html; charset=utf-8")
        elif path is not None and (named := _PICTURE.fullmatch(path)):
            picture = self.server.review.picture(int(named[1]), int(named[2]))
            if picture is None:
                self._answer(b"", "image/jpeg", HTTPStatus.NO_CONTENT)
            else:
                self._answer(picture, "image/jpeg", caching="private, max-age=3600")
        elif path is not None:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Decisions."""
        path = self._allowed()
        if path is None:
            return
        if path != "decisions":
            self._refuse(HTTPStatus.NOT_FOUND)
        elif self.headers.get("Origin") != f"http://{self.server.host}":
            self._refuse(HTTPStatus.FORBIDDEN)
        elif not (self.headers.get("Content-Length") or "").isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif int(self.headers["Content-Length"]) > LONGEST_POST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._save(self.rfile.read(int(self.headers["Content-Length"])))

    def _save(self, body: bytes) -> None:
        try:
            saved = self.server.review.save(*_asked(body))
        except FacededupError as exc:
            status = {StoreLockedError: HTTPStatus.LOCKED, UsageError: HTTPStatus.BAD_REQUEST}.get(
                type(exc), HTTPStatus.INTERNAL_SERVER_ERROR
            )
            self._answer_json({"error": f"Not saved: {exc}."}, status)
        else:
            self._answer_json({"entries": saved.entries, "revision": saved.revision}, HTTPStatus.OK)

    def _allowed(self) -> str | None:
        """The path below the secret; None, and an answer, where there is none to give."""
        base = self.server.base
        if self.headers.get("Host") != self.server.host:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
        elif self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            self._refuse(HTTPStatus.FORBIDDEN)
        elif not hmac.compare_digest(self.path[: len(base)].encode(), base.encode()):
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            return self.path[len(base) :]
        return None

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._answer(f"{status.phrase}\n".encode(), "text/plain; charset=utf-8", status)

    def _answer_json(self, value: Any, status: HTTPStatus) -> None:
        self._answer(json.dumps(value).encode(), "application/json", status)

    def _answer(
        self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, *, caching: str = "no-store"
    ) -> None:
        self.send_response(status)
        own = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": caching}
        for name, value in {**own, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has in http.server
        """Says nothing: the address holds the secret."""
