"""HTTP to the service, with the service's errors as Python errors."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from insula.base.errors import InsulaError, InvalidInput, RateLimited, Unavailable, from_dict


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def path_of(*parts: str) -> str:
    """`/v1/instances/web1` from its parts; what people typed is escaped."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


class Connection:
    """Sends requests and keeps connections open between them: one for each thread that sends at the same time."""

    def __init__(self, url: str, token: str, project: str, *, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._headers = {"Accept": "application/json, application/problem+json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        if project:
            self._headers["Insula-Project"] = project
        self._idle: list[http.client.HTTPConnection] = []  # taken from and put back whole, so threads need no lock

    def open(self, timeout_s: float | None = None) -> http.client.HTTPConnection:
        """A new connection, not connected yet. Raises InvalidInput on a URL that is none."""
        wait_s = timeout_s or self._timeout_s
        if self._url.startswith("unix:"):
            return _UnixConnection(self._url.removeprefix("unix:"), wait_s)
        parts = urlsplit(self._url)
        if parts.scheme == "http" and parts.hostname:
            return http.client.HTTPConnection(parts.hostname, parts.port or 7780, timeout=wait_s)
        if parts.scheme == "https" and parts.hostname:
            return http.client.HTTPSConnection(parts.hostname, parts.port or 443, timeout=wait_s)
        raise InvalidInput(
            f"{self._url!r} is no address of a service",
            why="It must look like http://127.0.0.1:7780 or unix:/var/lib/insula/run/insula.sock",
            todo="Set INSULA_URL, or leave it empty to use the local socket",
            code="invalid-setting",
        )

    def sibling(self, timeout_s: float) -> Connection:
        """Another one to the same service, as the same caller, with its own patience."""
        made = Connection(self._url, "", "", timeout_s=timeout_s)
        made._headers = self._headers
        return made

    @property
    def headers(self) -> Mapping[str, str]:
        """What every request carries."""
        return self._headers

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self.request("GET", path, query=query)

    def pages(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """All items of a list, page after page."""
        wanted = {"limit": 500} | dict(query or {})
        while True:
            page = self.get(path, wanted)
            yield from page["items"]
            if not page.get("next_after"):
                return
            wanted["after"] = page["next_after"]

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Send a request and return its JSON answer, None when it has none.

        Raises the error that the service names, or Unavailable.
        """
        headers = dict(self._headers)
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        target = _target(path, query)
        with self.translated():
            data, response = self._exchange(method, target, content, headers, timeout_s)
        if response.status >= 400:
            raise error_of(response, data)
        return json.loads(data) if data else None

    def _exchange(
        self, method: str, target: str, content: bytes | None, headers: dict[str, str], timeout_s: float | None
    ) -> tuple[bytes, http.client.HTTPResponse]:
        kept = self._take()
        reused = kept is not None
        connection = kept or self.open()
        _set_timeout(connection, timeout_s or self._timeout_s)
        try:
            connection.request(method, target, body=content, headers=headers)
            response = connection.getresponse()
            data = response.read()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            connection.close()
            # The service closes connections that idle, perhaps just now; only what changes nothing may be sent again.
            if reused and method == "GET":
                return self._exchange(method, target, content, headers, timeout_s)
            raise
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return data, response

    def _take(self) -> http.client.HTTPConnection | None:
        """A kept connection that the service has not closed meanwhile."""
        while (kept := self._pop()) is not None:
            if not _has_ended(kept):
                return kept
            kept.close()
        return None

    def _pop(self) -> http.client.HTTPConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        content: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """A request on a connection of its own whose body and answer may be endless. `timeout_s` is per read."""
        connection = self.open(timeout_s)
        sent = dict(self._headers) | dict(headers or {})
        try:
            with self.translated():
                if content is None:
                    connection.request(method, _target(path, query), headers=sent)
                else:
                    _send_chunked(connection, method, _target(path, query), content, sent)
                response = connection.getresponse()
                if response.status >= 400:
                    raise error_of(response, response.read())
            yield response
        finally:
            connection.close()

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what sockets raise into Unavailable."""
        try:
            yield
        except TimeoutError as error:
            raise Unavailable(
                f"The service at {self._url} did not answer in time",
                why=f"It took longer than {self._timeout_s:g} s",
                todo="Try again; `insula service logs` shows what it does",
                code="service-timeout",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"The service at {self._url} cannot be reached",
                why=getattr(error, "strerror", "") or str(error) or type(error).__name__,
                todo="Start it with `insula service start`, or set INSULA_URL to where it runs",
                code="service-unreachable",
            ) from error

    def close(self) -> None:
        while (kept := self._pop()) is not None:
            kept.close()

    def __del__(self) -> None:
        # `Client().sandbox()` leaves nobody who could close it.
        self.close()


def _send_chunked(
    connection: http.client.HTTPConnection, method: str, target: str, content: Iterable[bytes], headers: dict[str, str]
) -> None:
    headers["Transfer-Encoding"] = "chunked"
    headers.setdefault("Content-Type", "application/octet-stream")
    try:
        connection.request(method, target, body=content, headers=headers, encode_chunked=True)
    except (BrokenPipeError, ConnectionResetError):
        # The service may refuse a body before it has read all of it; its answer says why.
        if connection.sock is None:
            raise


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    # Between an answer and the next request there is nothing to read but the end.
    if connection.sock is None:
        return True
    watch = select.poll()
    watch.register(connection.sock, select.POLLIN)
    return bool(watch.poll(0))


def _set_timeout(connection: http.client.HTTPConnection, timeout_s: float) -> None:
    connection.timeout = timeout_s
    if connection.sock is not None:
        connection.sock.settimeout(timeout_s)


def _target(path: str, query: Mapping[str, Any] | None) -> str:
    given = {name: _text(value) for name, value in (query or {}).items() if value is not None and value != ""}
    return f"{path}?{urlencode(given)}" if given else path


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def error_of(response: http.client.HTTPResponse, data: bytes) -> InsulaError:
    """The service's problem as the error it was there."""
    try:
        problem = json.loads(data)
        fields = {entry["field"]: entry["message"] for entry in problem.get("errors", ())}
        error = from_dict({**problem, "fields": fields})
    except (ValueError, KeyError, TypeError, AttributeError):
        return Unavailable(
            f"The service answered {response.status} {response.reason}",
            why=data[:200].decode("utf-8", "replace"),
            todo="Check that INSULA_URL points at Insula and not at something else",
            code="unexpected-answer",
        )
    if isinstance(error, RateLimited):
        error.retry_after_s = float(response.getheader("Retry-After") or 1)
    return error


def given(wish: Mapping[str, Any]) -> dict[str, Any]:
    """Only what was asked for: the service knows the defaults."""
    return {
        name: value
        for name, value in wish.items()
        if value is not None and value is not False and value not in ("", [])
    }
