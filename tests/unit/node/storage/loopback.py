"""A server on 127.0.0.1 that misbehaves in every way a download must survive."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One file and how it is served. `drop_after` cuts each of the first `drops` answers after so many bytes."""

    data: bytes = b""
    ranges: bool = True
    drop_after: int = 0
    drops: int = 0
    claim: int = 0  # added to the true length in Content-Length
    status: int = 200
    failures: int = 0  # so many answers with `status` before it works
    location: str = ""
    etag: str = '"v1"'
    resume_at: int = 0  # added to where a resumed answer says it begins
    requests: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    files: dict[str, Served]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        pass

    def do_GET(self) -> None:
        served = self.files.get(self.path)
        if served is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range", "")
        served.requests.append(asked)
        if served.location:
            self.send_response(302)
            self.send_header("Location", served.location)
            self.end_headers()
            return
        if served.failures:
            served.failures -= 1
            self.send_error(served.status)
            return
        begin = 0
        if asked and served.ranges and self.headers.get("If-Range") == served.etag:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
        self._send(served, begin)

    def _send(self, served: Served, begin: int) -> None:
        body = served.data[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            at = begin + served.resume_at
            self.send_header("Content-Range", f"bytes {at}-{len(served.data) - 1}/{len(served.data)}")
        self.send_header("Content-Length", str(len(body) + served.claim))
        self.send_header("ETag", served.etag)
        self.send_header("Last-Modified", "Sat, 31 Jan 2026 08:15:00 GMT")
        self.end_headers()
        if served.drops:
            served.drops -= 1
            body = body[: served.drop_after]
            self.close_connection = True
        self.wfile.write(body)


@contextmanager
def serving(files: dict[str, Served]) -> Iterator[str]:
    """Serve files by path; gives the server's address."""
    handler = type("Handler", (_Handler,), {"files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
