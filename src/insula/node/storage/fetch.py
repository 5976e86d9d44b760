"""Fetches files over HTTPS: resumed where the server can, with a limit, and never longer than it said."""

from __future__ import annotations

import asyncio
import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from insula.base.errors import DataCorrupt, InvalidInput, Unavailable

_CHUNK_BYTES = 1 << 20
_SOCKET_TIMEOUT_S = 30.0
_MAX_REDIRECTS = 5
_TRIES = 5
_PAUSE_S = 1.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def check_url(url: str) -> str:
    """Raise :class:`InvalidInput` unless the URL is https, or http to this very host."""
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
        return url
    raise InvalidInput(
        f"{url[:200]!r} may not be fetched",
        why="Images come over https only, also after a redirection, so that nobody on the way can change them",
        todo="Use the https address of the file",
        code="url-not-https",
    )


@dataclass(frozen=True)
class Fetched:
    """`modified` is the server's date of the file as YYYY-MM-DD, empty when it said none."""

    size_bytes: int
    modified: str


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only to where we would have gone by ourselves."""

    max_redirections = _MAX_REDIRECTS

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any) -> Any:
        # Before the parent does: it refuses other schemes with an error that looks like the server's answer.
        try:
            check_url(urljoin(req.full_url, str(headers.get("Location", ""))))
        except InvalidInput:
            fp.close()
            raise
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _Interrupted(Exception):
    """The connection ended early; what came so far may be kept."""


async def fetch(url: str, target: Path, *, max_bytes: int, on_progress: Callable[[int, int], None]) -> Fetched:
    """Fetch `url` into `target`; `on_progress` gets bytes so far and in all (0: unknown), from another thread.

    A connection that breaks is taken up again where it broke, several times. Raises :class:`InvalidInput` (scheme),
    :class:`Unavailable` (server, network) and :class:`DataCorrupt` (more than `max_bytes`); `target` is then gone.
    """
    cancelled = threading.Event()
    transfer = _Transfer(check_url(url), target, max_bytes, on_progress, cancelled)
    work = asyncio.create_task(asyncio.to_thread(transfer.run))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        cancelled.set()
        # The thread stops at its next chunk or socket timeout; nobody may remove the folder under it before.
        await asyncio.wait([work])
        raise
    finally:
        if not work.done() or work.cancelled() or work.exception() is not None:
            target.unlink(missing_ok=True)


class _Transfer:
    """One file, over as many connections as it takes."""

    def __init__(
        self,
        url: str,
        target: Path,
        max_bytes: int,
        on_progress: Callable[[int, int], None],
        cancelled: threading.Event,
    ) -> None:
        self._url = url
        self._target = target
        self._max_bytes = max_bytes
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._opener = urllib.request.build_opener(_Redirects())
        self._validator = ""  # ETag or date of the first answer: a resumed part must be of the same file
        self._modified = ""

    def run(self) -> Fetched:
        reason = ""
        for attempt in range(_TRIES):
            if attempt and self._cancelled.wait(_PAUSE_S * attempt):
                break
            try:
                size = self._connect()
                return Fetched(size, self._modified)
            except urllib.error.HTTPError as error:
                error.close()
                reason = f"The server answered {error.code} {error.reason}"
                if error.code == 416:
                    self._target.unlink(missing_ok=True)  # what we have does not fit its file any more: begin again
                elif error.code < 500 and error.code not in (408, 429):
                    break
            except (_Interrupted, OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.filename == str(self._target):
                    raise
                reason = f"{type(error).__name__}: {error}"
        raise Unavailable(
            f"{self._url} could not be fetched",
            why=f"{reason or 'It was cancelled'} (tried {_TRIES} times at most)",
            todo="Check the network and the address, then try again",
            code="download-failed",
        )

    def _connect(self) -> int:
        """Fetch the rest over one connection; returns the whole size. Raises :class:`_Interrupted` when it breaks."""
        have = self._target.stat().st_size if self._target.exists() else 0
        request = urllib.request.Request(self._url, headers={"User-Agent": "insula", "Accept-Encoding": "identity"})  # noqa: S310 - check_url saw it
        if have and self._validator:
            request.add_header("Range", f"bytes={have}-")
            request.add_header("If-Range", self._validator)
        with self._opener.open(request, timeout=_SOCKET_TIMEOUT_S) as response:
            have = self._resume_point(response, have)
            length = _number(response.headers.get("Content-Length"))
            total = have + length if length is not None else 0
            if total > self._max_bytes:
                raise self._too_large(total)
            self._remember(response)
            have = self._copy(response, have, total)
        if total and have != total:
            raise _Interrupted(f"the connection ended after {have} of {total} bytes")
        return have

    def _resume_point(self, response: Any, have: int) -> int:
        """Where the answer begins: at the asked byte, or at 0 when the server sends the whole file again."""
        if response.status == 206:
            unit, _, span = str(response.headers.get("Content-Range", "")).partition(" ")
            if unit == "bytes" and span.partition("-")[0] == str(have):
                return have
            self._target.unlink()
            raise _Interrupted("the server resumed at another place than asked for")
        return 0

    def _remember(self, response: Any) -> None:
        etag = str(response.headers.get("ETag") or "")
        date = str(response.headers.get("Last-Modified") or "")
        # A weak ETag may not be used to resume (RFC 9110, section 13.1.5).
        self._validator = etag if etag and not etag.startswith("W/") else date
        if date:
            try:
                self._modified = f"{parsedate_to_datetime(date):%Y-%m-%d}"
            except ValueError:
                self._modified = ""

    def _copy(self, response: Any, have: int, total: int) -> int:
        with self._target.open("r+b" if have else "wb") as file:
            file.seek(have)
            while chunk := response.read(_CHUNK_BYTES):
                if self._cancelled.is_set():
                    raise _Interrupted("cancelled")
                have += len(chunk)
                if have > self._max_bytes:
                    raise self._too_large(have)
                file.write(chunk)
                self._on_progress(have, total)
        return have

    def _too_large(self, size: int) -> DataCorrupt:
        return DataCorrupt(
            f"{self._url} is larger than expected",
            why=f"It has {size} bytes or more; the limit is {self._max_bytes}",
            todo="Look at the address: it may not be the file you mean",
            code="download-too-large",
        )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
