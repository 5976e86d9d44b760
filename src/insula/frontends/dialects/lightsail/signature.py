"""Signature Version 4: who signed a request, when, and whether with a key's secret.

Source: AWS, "Create a signed AWS API request" (header and query form) and "Signature calculations for the Authorization
header: transferring payload in multiple chunks".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, quote

from insula.base.errors import Unauthenticated

ALGORITHM = "AWS4-HMAC-SHA256"
CLOCKS_DIFFER = timedelta(minutes=5)
STREAMED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()
_SERVICE, _END = "lightsail", "aws4_request"
_MOMENT = "%Y%m%dT%H%M%SZ"
_LONGEST = timedelta(days=7)
# What decides about a request must be signed in every form of it.
_ALWAYS_SIGNED = frozenset({"host", "x-amz-target"})
_MAY_DECIDE = frozenset({"insula-project"})
_SCOPE = re.compile(r"(?P<day>\d{8})/(?P<region>[a-z0-9-]{1,40})/(?P<service>[a-z0-9-]{1,40})/(?P<end>[a-z0-9_]{1,40})")
_PART = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")


@dataclass(frozen=True)
class Request:
    """What is signed of a request, beside its body. `path` and `query` are as they were sent, encoded."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]

    def header(self, name: str) -> str:
        """Its value, several joined as they are signed; empty without any."""
        return ",".join(" ".join(value.split()) for known, value in self.headers if known == name)


@dataclass(frozen=True)
class Signature:
    """What a request says of its signature. `scope` is `day/region/service/aws4_request`."""

    key_id: str
    scope: str
    moment: datetime
    signed: tuple[str, ...]
    value: str
    is_in_query: bool = False

    def key(self, secret: str) -> bytes:
        """The key that is for this scope only."""
        key = f"AWS4{secret}".encode()
        for part in self.scope.split("/"):
            key = _hmac(key, part)
        return key

    def is_right(self, secret: str, request: Request, payload: str) -> bool:
        """Whether that secret makes this signature of the request, with this hash of its payload."""
        canonical = canonical_request(request, self, payload)
        text = "\n".join((ALGORITHM, self.moment.strftime(_MOMENT), self.scope, _sha256(canonical.encode())))
        return same(_hmac(self.key(secret), text).hex(), self.value)

    def of_chunk(self, key: bytes, before: str, chunk: bytes) -> str:
        """The signature of a piece of the body; `before` is that of the piece before, or of the request."""
        moment = self.moment.strftime(_MOMENT)
        text = "\n".join((f"{ALGORITHM}-PAYLOAD", moment, self.scope, before, EMPTY, _sha256(chunk)))
        return _hmac(key, text).hex()


def read_signature(request: Request, now: datetime) -> Signature:
    """The signature in a request's headers or query, if its time is right. Raises Unauthenticated."""
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    if request.header("x-amz-security-token") or "X-Amz-Security-Token" in query:
        raise Unauthenticated(
            "The security token included in the request is invalid",
            why="There are no temporary keys here",
            todo="Leave AWS_SESSION_TOKEN out",
            code="invalid-token",
        )
    authorization = request.header("authorization")
    if authorization.startswith(ALGORITHM):
        found = _of_header(request, authorization)
        _check_time(found.moment, now, CLOCKS_DIFFER)
    elif query.get("X-Amz-Algorithm") == ALGORITHM:
        found = _of_query(query)
        _check_time(found.moment, now, _lasting(query.get("X-Amz-Expires", "")))
    else:
        raise Unauthenticated(
            "Missing Authentication Token",
            why="The request has no signature of version 4",
            todo="Sign it with a key; `insula endpoint lightsail` makes one",
            code="unsigned-request",
        )
    missing = {*_ALWAYS_SIGNED, *_deciding(request, found)} - set(found.signed)
    if missing:
        raise _incomplete(f"Headers are not signed that must be: {', '.join(sorted(missing))}")
    return found


def region_of(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The region that a request was signed for, empty without."""
    credential = query.get("X-Amz-Credential", "")
    for name, value in _PART.findall(headers.get("authorization", "")):
        credential = value if name == "Credential" else credential
    found = _SCOPE.fullmatch(credential.partition("/")[2])
    return found["region"] if found is not None else ""


def canonical_request(request: Request, signature: Signature, payload: str) -> str:
    path = quote(request.path or "/", safe="/~")
    query = _canonical_query(request.query)
    lines = [f"{name}:{request.header(name)}" for name in signature.signed]
    return "\n".join((request.method, path, query, *lines, "", ";".join(signature.signed), payload))


def same(mine: str, theirs: str) -> bool:
    """Compared in a time that tells nothing."""
    return hmac.compare_digest(mine.encode(), theirs.encode("utf-8", "surrogatepass"))


def _of_header(request: Request, authorization: str) -> Signature:
    parts = dict(_PART.findall(authorization))
    if len(parts) < 3:
        raise _incomplete("Authorization needs Credential, SignedHeaders and Signature")
    return _signature(parts, request.header("x-amz-date") or _date_of(request), is_in_query=False)


def _of_query(query: Mapping[str, str]) -> Signature:
    parts = {name: query.get(f"X-Amz-{name}", "") for name in ("Credential", "SignedHeaders", "Signature")}
    if not all(parts.values()):
        raise _incomplete("The query needs X-Amz-Credential, X-Amz-SignedHeaders and X-Amz-Signature")
    return _signature(parts, query.get("X-Amz-Date", ""), is_in_query=True)


def _signature(parts: Mapping[str, str], moment: str, *, is_in_query: bool) -> Signature:
    key_id, _, scope = parts["Credential"].partition("/")
    found = _SCOPE.fullmatch(scope)
    try:
        at = datetime.strptime(moment, _MOMENT).replace(tzinfo=UTC)
    except ValueError as error:
        raise _incomplete("X-Amz-Date is missing, or is not like 20261128T140000Z") from error
    if found is None or found["service"] != _SERVICE or found["end"] != _END or found["day"] != moment[:8]:
        raise Unauthenticated(
            f"Credential should be scoped to a valid region and correct service: '{_SERVICE}'",
            why=f"It is {scope[:120]!r}, and the request is of {moment[:8]}",
            todo="Let the client sign for this service and the day that it says",
            code="signature-mismatch",
        )
    signed = tuple(parts["SignedHeaders"].lower().split(";"))
    return Signature(key_id, scope, at, signed, parts["Signature"], is_in_query)


def _date_of(request: Request) -> str:
    try:
        return parsedate_to_datetime(request.header("date")).astimezone(UTC).strftime(_MOMENT)
    except (ValueError, TypeError):
        return ""


def _deciding(request: Request, signature: Signature) -> Iterable[str]:
    """Headers that change what is asked, and those of the vendor's where the signature itself is a header."""
    names = {name for name, _ in request.headers}
    own = () if signature.is_in_query else (name for name in names if name.startswith("x-amz-"))
    return {*own, *(names & _MAY_DECIDE)}


def _lasting(expires: str) -> timedelta:
    if not expires.isascii() or not expires.isdigit() or len(expires) > 6:
        raise _incomplete("X-Amz-Expires is no number of seconds")
    return min(timedelta(seconds=int(expires)), _LONGEST)


def _check_time(moment: datetime, now: datetime, lasting: timedelta) -> None:
    shown, present = moment.strftime(_MOMENT), now.strftime(_MOMENT)
    if moment + lasting < now:
        earliest = (now - lasting).strftime(_MOMENT)
        minutes = lasting.total_seconds() / 60
        raise _wrong_time(f"expired: {shown} is now earlier than {earliest} ({present} - {minutes:g} min.)")
    if moment - CLOCKS_DIFFER > now:
        latest = (now + CLOCKS_DIFFER).strftime(_MOMENT)
        raise _wrong_time(f"not yet current: {shown} is still later than {latest} ({present} + 5 min.)")


def _wrong_time(how: str) -> Unauthenticated:
    return Unauthenticated(
        f"Signature {how}",
        why="The clocks of the client and of this host differ, or the request was long on its way",
        todo="Set the client's clock; an answer's Date header tells the time here",
        code="wrong-time",
    )


def _incomplete(why: str) -> Unauthenticated:
    return Unauthenticated(
        "The signature is not complete", why=why, todo="Let the client sign it", code="incomplete-signature"
    )


def _canonical_query(query: str) -> str:
    pairs = [
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
        if name != "X-Amz-Signature"
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
