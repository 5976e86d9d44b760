"""Who looks at the panel: the session's cookie, and what protects forms from other sites.

Over HTTPS the cookie is `__Host-insula`, which no other host can set. Over plain HTTP browsers take no such cookie;
there it is `insula`, and signing in is possible from this host only, so that no secret crosses a network in the clear.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from litestar.types import HTTPScope, WebSocketScope

from insula.base.errors import Forbidden, NotFound, Unauthenticated
from insula.control.actions import Actions
from insula.domain.access import Identity
from insula.domain.user import Session as Record
from insula.frontends.edge import Arrival, Known

NOT_SIGNED_IN = "not-signed-in"
FLASH_COOKIE = "insula-flash"
PROJECT_COOKIE = "insula-project"
THEME_COOKIE = "insula-theme"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_TOKEN_BYTES = 16
_YEAR_S = 365 * 24 * 3600
_Scope = HTTPScope | WebSocketScope


@dataclass(frozen=True)
class Session:
    """Somebody who is signed in. `known_by` tells sessions apart and opens nothing."""

    secret: str = field(repr=False)
    known_by: str

    @property
    def form_token(self) -> str:
        """What forms of this session's pages carry. It is masked anew each time, so that the size of a compressed page
        tells nothing about it."""
        mask = secrets.token_bytes(_TOKEN_BYTES)
        return base64.urlsafe_b64encode(mask + _mixed(mask, self._token)).decode().rstrip("=")

    def accepts(self, form_token: str) -> bool:
        """Whether it came from a page of this session."""
        try:
            given = base64.urlsafe_b64decode(form_token + "=" * (-len(form_token) % 4))
        except (ValueError, binascii.Error):
            return False
        mask, masked = given[:_TOKEN_BYTES], given[_TOKEN_BYTES:]
        return len(masked) == _TOKEN_BYTES and hmac.compare_digest(_mixed(mask, masked), self._token)

    @property
    def _token(self) -> bytes:
        digest = hashlib.sha256(f"insula panel form {self.secret}".encode("utf-8", "surrogatepass")).digest()
        return digest[:_TOKEN_BYTES]


async def identify(actions: Actions, arrival: Arrival) -> Known:
    """Who has the session that the cookie names. Raises what :func:`sign_in_needed` makes."""
    cookies = cookies_of(arrival.headers.get(b"cookie", ""))
    secret = cookies.get(session_cookie(arrival.scope), "")
    try:
        identity, found = await _of_secret(actions, secret, arrival.project, cookies.get(PROJECT_COOKIE, ""))
    except Unauthenticated as error:
        raise sign_in_needed(arrival) from error
    arrival.scope["state"]["session"] = Session(secret, found.id)
    return Known(identity, secret, arrival.receive)


async def _of_secret(actions: Actions, secret: str, asked: str, chosen: str) -> tuple[Identity, Record]:
    """In the project that is asked for, or that was chosen last; one that is gone since does not keep anybody out."""
    if asked or not chosen:
        return await actions.sessions.of_secret(secret, asked)
    try:
        return await actions.sessions.of_secret(secret, chosen)
    except NotFound:
        return await actions.sessions.of_secret(secret)


def sign_in_needed(arrival: Arrival) -> Unauthenticated:
    """Nobody is signed in. The field `back` is the page to come back to, `seen_by` says whether a person sees it."""
    scope, headers = arrival.scope, arrival.headers
    query = scope["query_string"].decode("latin-1")
    is_page = scope.get("method") == "GET" and "text/html" in headers.get(b"accept", "")
    by_script = (not is_page or b"hx-request" in headers) and scope.get("method") != "POST"
    back = f"{scope['path']}?{query}" if query else scope["path"]
    return Unauthenticated(
        "You are not signed in",
        why="The session has ended, or there was none",
        todo="Sign in",
        code=NOT_SIGNED_IN,
        fields={"back": back if is_page else "", "seen_by": "script" if by_script else "person"},
    )


def session_cookie(scope: _Scope) -> str:
    """The name of the session's cookie."""
    return "__Host-insula" if is_encrypted(scope) else "insula"


def is_encrypted(scope: _Scope) -> bool:
    return scope["scheme"] in {"https", "wss"}


def check_private(scope: _Scope) -> None:
    """Raise Forbidden where a secret would cross a network in the clear."""
    client = scope.get("client")
    if is_encrypted(scope) or client is None or _is_this_host(client[0]):
        return
    raise Forbidden(
        "Nobody can sign in here",
        why="The connection is not encrypted, and a password would be seen by whoever is in between",
        todo="Open the panel over HTTPS; it is at the port that INSULA_LISTEN_TLS names",
        code="needs-https",
    )


def _is_this_host(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def check_origin(method: str, headers: Mapping[str, str]) -> None:
    """Raise Forbidden for a form that another site sent.

    Its scheme tells nothing: a proxy may have taken HTTPS off.
    """
    if method in _SAFE:
        return
    origin, host = headers.get("origin"), headers.get("host", "")
    site = headers.get("sec-fetch-site", "same-origin")
    if (origin is not None and origin.partition("://")[2] != host) or site not in {"same-origin", "none"}:
        raise Forbidden(
            "The form came from another site",
            why=f"It came from {(origin or site)[:80]}, and this is {host[:80]}",
            todo="Open the panel itself and try again",
            code="foreign-form",
        )


def check_form_token(method: str, session: Session | None, form_token: str) -> None:
    """Raise Forbidden for a form that no page of this session made."""
    if method not in _SAFE and (session is None or not session.accepts(form_token)):
        raise Forbidden(
            "The form is not from this session",
            why="It has not the token that pages of this session carry",
            todo="Open the page again and send it anew",
            code="stale-form",
        )


def cookies_of(header: str) -> Mapping[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


def cookie(name: str, value: str, *, max_age_s: int = _YEAR_S, secure: bool = False) -> str:
    """A `Set-Cookie` line. No script can read the cookie, and no other site sends it along."""
    line = f"{name}={quote(value, safe='')}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax"
    return f"{line}; Secure" if secure else line


def _mixed(mask: bytes, text: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(mask, text, strict=True))
