"""Whose request it is: the body is read first, since it is signed, and given to the application afterwards."""

from __future__ import annotations

import hashlib
import re

from litestar.types import HTTPReceiveMessage, HTTPScope, Receive, WebSocketReceiveMessage, WebSocketScope

from insula.base.clock import now_utc
from insula.base.errors import InvalidInput, Unauthenticated
from insula.control.actions import Actions
from insula.frontends.dialects.dialect import MAX_BODY_BYTES
from insula.frontends.dialects.lightsail.signature import STREAMED, UNSIGNED, Request, Signature, read_signature, same
from insula.frontends.edge import Arrival, Known

_HASH = re.compile(r"[0-9a-f]{64}")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8});chunk-signature=([0-9a-f]{64})\r\n")
_MOST_CHUNKS_OVERHEAD = 1 << 16  # bytes that heads of chunks may add to a body


async def by_signature(actions: Actions, arrival: Arrival) -> Known:
    """Raises Unauthenticated, InvalidInput (body), and NotFound for a project that is not the key's."""
    request = _request(arrival.scope)
    signature = read_signature(request, now_utc())
    body = await _body(arrival.receive)
    payload = _payload(request, signature, body, is_private=arrival.scope["scheme"] == "https")
    chunks = _Chunks(body) if payload == STREAMED else None

    def is_right(secret: str) -> bool:
        if not signature.is_right(secret, request, payload):
            return False
        return chunks is None or chunks.are_right(signature, secret)

    identity = await actions.access.of_signature(signature.key_id, is_right, arrival.project)
    return Known(identity, signature.key_id, _again(body if chunks is None else chunks.content, arrival.receive))


def _request(scope: HTTPScope | WebSocketScope) -> Request:
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    path = scope.get("raw_path") or scope["path"].encode()
    plain = path.partition(b"?")[0].decode("latin-1")
    return Request(str(scope.get("method", "GET")), plain, scope["query_string"].decode("latin-1"), headers)


def _payload(request: Request, signature: Signature, body: bytes, *, is_private: bool) -> str:
    """What stands for the body in what is signed. Raises Unauthenticated when that is not the body."""
    told = request.header("x-amz-content-sha256")
    if told == STREAMED:
        return told
    if told == UNSIGNED and is_private and "x-amz-content-sha256" in signature.signed:
        return told
    found = hashlib.sha256(body).hexdigest()
    if told and not (_HASH.fullmatch(told) and same(found, told)):
        raise Unauthenticated(
            "The hash of the body is not the one that was signed",
            why=f"X-Amz-Content-Sha256 is {told[:80]!r}, and that of the body {found}",
            todo="Sign the body itself, or send it over HTTPS where it is not signed",
            code="signature-mismatch",
        )
    return found


class _Chunks:
    """A body in signed pieces, the last of which is empty."""

    def __init__(self, body: bytes) -> None:
        """Raises InvalidInput for what is not in pieces."""
        self._pieces: list[tuple[bytes, str]] = []
        place = 0
        while True:
            head = _CHUNK.match(body, place)
            if head is None:
                raise _broken()
            size = int(head[1], 16)
            end = head.end() + size
            piece = body[head.end() : end]
            if len(piece) < size or (size and body[end : end + 2] != b"\r\n"):
                raise _broken()
            self._pieces.append((piece, head[2].decode()))
            place = end + 2
            if not size:
                break
        if body[end:] not in {b"", b"\r\n"}:
            raise _broken()

    @property
    def content(self) -> bytes:
        return b"".join(piece for piece, _ in self._pieces)

    def are_right(self, signature: Signature, secret: str) -> bool:
        """Whether each piece is signed, and follows the one before."""
        key, before = signature.key(secret), signature.value
        for piece, told in self._pieces:
            before = signature.of_chunk(key, before, piece)
            if not same(before, told):
                return False
        return True


async def _body(receive: Receive) -> bytes:
    found = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        found += message.get("body", b"")
        more = message.get("more_body", False)
        if len(found) > MAX_BODY_BYTES + _MOST_CHUNKS_OVERHEAD:
            raise InvalidInput(
                "The request is too large",
                why=f"At most {MAX_BODY_BYTES} bytes are read",
                todo="Send less",
                code="malformed-request",
            )
    return bytes(found)


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives the whole body first, and then whatever comes."""
    is_given = False

    async def give() -> HTTPReceiveMessage | WebSocketReceiveMessage:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


def _broken() -> InvalidInput:
    return InvalidInput(
        "The body is not in signed pieces",
        why=f"X-Amz-Content-Sha256 is {STREAMED}, and a piece is cut off or none",
        todo="Send pieces that begin with SIZE;chunk-signature=SIGNATURE, and an empty one at the end",
        code="malformed-request",
    )
