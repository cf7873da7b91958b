"""A tiny HTTP server on the loopback address: ``/metrics``, ``/health`` and ``/healthz``, and nothing else.

It has one thread, so that requests wait for each other and never for the daemon's loop, nor the loop for them.
"""

from __future__ import annotations

import io
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any

import msgspec

from wfengine import health, log
from wfengine.clock import Clock, since_boot
from wfengine.errors import UsageError, WfengineError, missing_extra
from wfengine.metrics.tally import Tally
from wfengine.pulse import Beat
from wfengine.store import Store

#: Seconds within which a request must have been sent, and its answer taken.
REQUEST_SECONDS, ANSWER_SECONDS = 5.0, 10.0
#: Bytes that a request may have.
MAX_REQUEST = 8 * 1024
#: What a browser of this machine calls this machine; any other name was made to point here by somebody else.
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_PLAIN, _JSON = "text/plain; charset=utf-8", "application/json"


class Answer(msgspec.Struct, frozen=True):
    """What is sent back."""

    status: int
    kind: str
    body: bytes


class Pages:
    """What there is to see; used by the server's thread alone."""

    def __init__(self, store: Store, clock: Clock, beat: Callable[[], Beat], subscribers: Sequence[str]) -> None:
        """Raises MissingExtraError without the extra ``metrics``."""
        try:
            import prometheus_client

            from wfengine.metrics.collector import HomeCollector
        except ImportError as error:
            raise missing_extra("metrics", "port in [metrics] of wfengine.toml", error) from error
        self._store, self._clock = store, clock
        self._collector = HomeCollector(store, Tally(store), beat, subscribers)
        self._generate = prometheus_client.generate_latest
        self._kind = prometheus_client.CONTENT_TYPE_LATEST

    def get(self, path: str) -> Answer | None:
        """Return the page of a path, None when there is none. Raises StateError as the store."""
        if path == "/metrics":
            return Answer(200, self._kind, self._generate(self._collector))
        if path in ("/health", "/healthz"):
            return self._health(whole=path == "/health")
        return None

    def _health(self, *, whole: bool) -> Answer:
        """Say how the home is: as a ``whole``, or only whether the daemon turns, for whoever would restart it."""
        now = self._clock.now_ms()
        facts = health.gather(self._store.home, self._store if whole else None, now=now, steady=since_boot())
        found = health.assess(facts, now)
        fine = found.ok if whole else found.alive
        told = {"ok": fine, "findings": [msgspec.to_builtins(finding) for finding in found.findings] if whole else []}
        return Answer(200 if fine else 503, _JSON, json.dumps(told).encode())

    def close(self) -> None:
        """Close the connection to the store."""
        self._store.close()


class _Handler(BaseHTTPRequestHandler):
    """Answers one request of at most so many bytes and seconds."""

    server: MetricsServer
    server_version, sys_version = "wfengine", ""

    def handle(self) -> None:
        # The whole head is read before it is looked at, so that a client that sends a byte now and then ends in time.
        self.rfile.close()
        self.rfile = io.BufferedReader(io.BytesIO(self._head()))
        self.connection.settimeout(ANSWER_SECONDS)
        self.close_connection = True
        self.handle_one_request()

    def _head(self) -> bytes:
        clock, head = self.server.clock, b""
        end = clock.monotonic() + REQUEST_SECONDS
        while b"\r\n\r\n" not in head and len(head) <= MAX_REQUEST:
            self.connection.settimeout(max(0.001, end - clock.monotonic()))
            try:
                part = self.connection.recv(MAX_REQUEST)
            except OSError:
                part = b""
            if not part or clock.monotonic() > end:
                return b""
            head += part
        return head if len(head) <= MAX_REQUEST else b""

    def do_GET(self) -> None:
        if not _LOOPBACK.fullmatch(self.headers.get("Host", "")):
            self._send(Answer(403, _PLAIN, b"ask this machine by its own name, http://127.0.0.1\n"))
            return
        try:
            answer = self.server.pages.get(self.path.partition("?")[0])
        except WfengineError as error:
            answer = Answer(503, _PLAIN, f"{error}\n".encode())
        if answer is None:
            self.send_error(404)
        else:
            self._send(answer)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer in a few words that repeat nothing of the request; what is no GET does not exist."""
        self._send(Answer(404 if code == 501 else code, _PLAIN, b"there are /metrics, /health and /healthz\n"))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {
            "Content-Type": answer.kind,
            "Content-Length": str(len(answer.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: a scrape every few seconds is no news."""


class MetricsServer(TCPServer):
    """Serves on a thread of its own until ``close``."""

    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, port: int, pages: Pages, clock: Clock) -> None:
        """Listen on 127.0.0.1; port 0 lets the system choose. Raises UsageError when the port is taken."""
        self.pages, self.clock = pages, clock
        self._closing = False
        self._asking: socket.socket | None = None
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(
                f"port {port} in [metrics] of wfengine.toml cannot be served: {reason}; choose another"
            ) from error
        self._thread = threading.Thread(target=self._serve, name="wfengine-metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def close(self) -> None:
        """Stop serving; a client that is being answered is cut off."""
        self._closing = True
        if (asking := self._asking) is not None:
            with suppress(OSError):
                asking.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()  # wakes the thread
        self._thread.join()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer one client, unless the server is being closed."""
        self._asking = request
        if not self._closing:
            self.finish_request(request, client_address)
        self._asking = None
        self.shutdown_request(request)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Log what went wrong with one request, unless its client just went away; the others go on."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.get().error("a request for metrics failed", error=f"{type(error).__name__}: {error}")

    def _serve(self) -> None:
        try:
            while not self._closing:
                self.handle_request()
        finally:
            self.pages.close()


def serve(port: int, store: Store, clock: Clock, beat: Callable[[], Beat], subscribers: Sequence[str]) -> MetricsServer:
    """Serve the metrics of a home on a loopback port; ``store`` is read through a connection of its own.

    Raises MissingExtraError without the extra, UsageError when the port is taken.
    """
    own = store.another(durable=False)
    try:
        return MetricsServer(port, Pages(own, clock, beat, subscribers), clock)
    except BaseException:
        own.close()
        raise
