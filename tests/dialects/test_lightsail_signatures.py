"""Only who has the secret of a key is let in, and only for what was signed, when it was signed. botocore signs."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from insula.domain.access import Scope
from insula.frontends.dialects.lightsail.signature import EMPTY, STREAMED, UNSIGNED, Request, read_signature
from tests.api.world import OTHER_PROJECT, World, make_world
from tests.dialects import signed
from tests.dialects.signed import ask, key, key_of, request, send

pytestmark = pytest.mark.asyncio(loop_scope="module")
_MINUTE = datetime.timedelta(minutes=1)


def kind(answer: Any) -> str:
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert answer.headers["x-amzn-errortype"] == body["__type"]
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    assert answer.headers["x-amzn-requestid"]
    assert set(body) == {"__type", "message", "code", "docs", "tip"}
    return str(body["__type"])


def moved(monkeypatch: pytest.MonkeyPatch, by: datetime.timedelta) -> None:
    """The client's clock."""
    real = datetime.datetime.now(datetime.UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: (real + by).replace(tzinfo=None))


@pytest.mark.parametrize("url", [signed.URL, "http://insula/lightsail", "http://insula/lightsail/"])
async def test_a_signed_request_is_answered(world: World, url: str) -> None:
    made = request("GetRegions", url=url)
    SigV4Auth(await key(world), "lightsail", "eu-west-1").add_auth(made)
    answer = await send(world, made)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    assert answer.headers["x-amzn-requestid"]


async def test_another_secret_is_refused(world: World) -> None:
    right = await key(world)
    wrong = Credentials(right.access_key, right.secret_key[::-1])
    assert kind(await ask(world, wrong, "GetRegions")) == "InvalidSignatureException"


@pytest.mark.parametrize("known", ["AKIAIOSFODNN7EXAMPLE", "IK01M8HRG1ET771BR7X7RCX2RYW0", "IK", "insula_x"])
async def test_an_unknown_key_is_refused(world: World, known: str) -> None:
    assert kind(await ask(world, Credentials(known, "s"), "GetRegions")) == "UnrecognizedClientException"


async def test_a_token_is_no_secret(world: World) -> None:
    """Its hash is stored, the secret of its key is derived: neither stands for the other."""
    token, secret = await world.new_token([Scope.ADMIN])
    wrong = Credentials(world.signing.of(token.id).id, secret)
    assert kind(await ask(world, wrong, "GetRegions")) == "InvalidSignatureException"
    bearer = request("GetRegions", Authorization=f"Bearer {secret}")
    assert kind(await send(world, bearer)) == "MissingAuthenticationTokenException"


async def test_a_revoked_key_is_refused_at_once(world: World) -> None:
    token, _ = await world.new_token([Scope.ADMIN])
    credentials = key_of(world, token.id)
    assert (await ask(world, credentials, "GetRegions")).status_code == 200
    await world.store.tokens.revoke("default", token.id)
    assert kind(await ask(world, credentials, "GetRegions")) == "UnrecognizedClientException"


async def test_an_expired_key_says_so_to_its_owner_only(world: World) -> None:
    past = datetime.datetime.now(datetime.UTC) - _MINUTE
    token, _ = await world.new_token([Scope.ADMIN], expires_at=past)
    credentials = key_of(world, token.id)
    assert kind(await ask(world, credentials, "GetRegions")) == "ExpiredTokenException"
    wrong = Credentials(credentials.access_key, "x")
    assert kind(await ask(world, wrong, "GetRegions")) == "InvalidSignatureException"


async def test_scopes_and_projects_hold(world: World) -> None:
    reading = await key(world, [Scope.KEYS_READ])
    assert (await ask(world, reading, "GetKeyPairs")).status_code == 200
    assert kind(await ask(world, reading, "CreateKeyPair", keyPairName="k")) == "AccessDeniedException"
    await ask(world, await key(world), "CreateKeyPair", keyPairName="mine")
    other = await key(world, project=OTHER_PROJECT)
    assert (await ask(world, other, "GetKeyPairs")).json() == {"keyPairs": []}
    assert kind(await ask(world, other, "GetKeyPair", keyPairName="mine")) == "NotFoundException"
    assert (await world.store.audit.list("default"))[0].subject == "token:t-default"


@pytest.mark.parametrize(("by", "word"), [(-6 * _MINUTE, "expired"), (6 * _MINUTE, "not yet current")])
async def test_a_wrong_clock_is_told_the_right_time(
    world: World, monkeypatch: pytest.MonkeyPatch, by: datetime.timedelta, word: str
) -> None:
    credentials = await key(world)
    moved(monkeypatch, by)
    answer = await ask(world, credentials, "GetRegions")
    assert kind(answer) == "InvalidSignatureException"
    message = answer.json()["message"]
    assert message.startswith(f"Signature {word}")
    assert f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H}" in message


@pytest.mark.parametrize("by", [-4 * _MINUTE, 4 * _MINUTE])
async def test_a_clock_may_be_a_little_wrong(
    world: World, monkeypatch: pytest.MonkeyPatch, by: datetime.timedelta
) -> None:
    credentials = await key(world)
    moved(monkeypatch, by)
    assert (await ask(world, credentials, "GetRegions")).status_code == 200


async def changed(world: World, **changes: Any) -> str:
    """What becomes of a signed request of which something was changed on its way."""
    made = signed.signed(await key(world), request("GetKeyPairs"))
    if "body" in changes:
        made.data = changes["body"]
    if "url" in changes:
        made.url = changes["url"]
    for name, value in changes.get("headers", {}).items():
        del made.headers[name]
        made.headers[name] = value
    return kind(await send(world, made))


async def test_what_is_changed_is_refused(world: World) -> None:
    for changes in (
        {"body": '{"pageToken": "x"}'},
        {"url": "http://insula/?x=1"},
        {"url": "http://insula/lightsail/"},
        {"headers": {"X-Amz-Target": "Lightsail_20161128.DownloadDefaultKeyPair"}},
        {"headers": {"Host": "elsewhere"}},
        {"headers": {"X-Amz-Content-Sha256": EMPTY}},
    ):
        assert await changed(world, **changes) in {"InvalidSignatureException", "IncompleteSignatureException"}


async def test_the_operation_must_be_signed(world: World) -> None:
    made = request("GetRegions")
    target = made.headers["X-Amz-Target"]
    del made.headers["X-Amz-Target"]
    SigV4Auth(await key(world), "lightsail", "us-east-1").add_auth(made)
    made.headers["X-Amz-Target"] = target
    assert kind(await send(world, made)) == "IncompleteSignatureException"


async def test_the_project_must_be_signed(world: World) -> None:
    """An administrator's key works in any project, which is not for others to choose."""
    credentials = await key(world)
    chosen = signed.signed(credentials, request("GetKeyPairs", Insula_Project=OTHER_PROJECT))
    assert (await send(world, chosen)).json() == {"keyPairs": []}
    added = signed.signed(credentials, request("GetKeyPairs"))
    added.headers["Insula-Project"] = OTHER_PROJECT
    assert kind(await send(world, added)) == "IncompleteSignatureException"


@pytest.mark.parametrize(
    ("service", "credential"), [("ec2", ""), ("lightsail", "20200101/us-east-1/lightsail/aws4_request")]
)
async def test_another_scope_is_refused(world: World, service: str, credential: str) -> None:
    made = request("GetRegions")
    SigV4Auth(await key(world), service, "us-east-1").add_auth(made)
    if credential:
        given = made.headers["Authorization"]
        made.headers.replace_header("Authorization", re.sub(r"\d{8}/[^,]*", credential, given))
    assert kind(await send(world, made)) == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ("", "MissingAuthenticationTokenException"),
        ("Basic eDp5", "MissingAuthenticationTokenException"),
        ("AWS4-HMAC-SHA256", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=\xff", "IncompleteSignatureException"),
    ],
)
async def test_half_a_signature_is_none(world: World, authorization: str, expected: str) -> None:
    made = request("GetRegions", **({"Authorization": authorization} if authorization else {}))
    assert kind(await send(world, made)) == expected


async def test_temporary_keys_are_not_known(world: World) -> None:
    found = await key(world)
    temporary = Credentials(found.access_key, found.secret_key, "session")
    assert kind(await ask(world, temporary, "GetRegions")) == "UnrecognizedClientException"


async def test_a_query_may_be_signed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = await key(world)

    def presigned(expires: int) -> AWSRequest:
        made = AWSRequest("POST", signed.URL, data=b"", headers={"X-Amz-Target": "Lightsail_20161128.GetKeyPairs"})
        SigV4QueryAuth(credentials, "lightsail", "us-east-1", expires=expires).add_auth(made)
        return made

    answer = await send(world, presigned(60))
    assert answer.status_code == 200, answer.text
    shortened = presigned(60)
    shortened.url = shortened.url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")
    assert kind(await send(world, shortened)) == "InvalidSignatureException"
    moved(monkeypatch, -10 * _MINUTE)
    assert (await send(world, presigned(3600))).status_code == 200
    assert kind(await send(world, presigned(60))) == "InvalidSignatureException"


class _Chunked(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs a body in pieces, with what botocore signs a request by."""

    def payload(self, request: Any) -> str:
        return STREAMED

    def pieces(self, made: AWSRequest, parts: list[bytes]) -> bytes:
        before = made.headers["Authorization"].rpartition("Signature=")[2]
        stamp, body = made.context["timestamp"], b""
        for part in [*parts, b""]:
            lines = (f"{STREAMED[10:]}", stamp, self.credential_scope(made), before, EMPTY)
            before = self.signature("\n".join((*lines, hashlib.sha256(part).hexdigest())), made)
            body += f"{len(part):x};chunk-signature={before}\r\n".encode() + part + b"\r\n"
        return body


async def chunked(world: World, parts: list[bytes]) -> AWSRequest:
    made = request("GetRegions", Content_Encoding="aws-chunked", X_Amz_Content_Sha256=STREAMED)
    signer = _Chunked(await key(world), "lightsail", "us-east-1")
    signer.add_auth(made)
    made.data = signer.pieces(made, parts)
    return made


async def test_a_body_may_come_in_signed_pieces(world: World) -> None:
    wish = json.dumps({"includeAvailabilityZones": True}).encode()
    answer = await send(world, await chunked(world, [wish[:7], wish[7:]]))
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["regions"][0]["availabilityZones"]) == 6


async def test_pieces_must_be_the_signed_ones(world: World) -> None:
    made = await chunked(world, [b"{}", b" "])
    whole = bytes(made.data)
    made.data = whole.replace(b"{}", b"[]")
    assert kind(await send(world, made)) == "InvalidSignatureException"
    first = whole[: whole.index(b"\r\n1;") + 2]
    for broken in (whole[:-60], b"{}", first, whole + b"x"):
        made.data = broken
        assert kind(await send(world, made)) == "SerializationException"


async def test_a_body_must_be_signed_without_encryption(world: World) -> None:
    made = request("GetRegions", X_Amz_Content_Sha256=UNSIGNED)

    class Unsigned(SigV4Auth):  # type: ignore[misc]  # botocore has no types
        def payload(self, request: Any) -> str:
            return UNSIGNED

    Unsigned(await key(world), "lightsail", "us-east-1").add_auth(made)
    assert kind(await send(world, made)) == "InvalidSignatureException"
    made.url = made.url.replace("http:", "https:")
    assert (await send(world, made)).status_code == 200


async def test_a_body_that_is_too_large_is_not_read(world: World) -> None:
    answer = await ask(world, await key(world), "GetRegions", padding="x" * 3_000_000)
    assert kind(answer) == "SerializationException"


async def test_who_asks_or_guesses_too_often_waits() -> None:
    """Requests are counted by key, failures by address, as everywhere; clients know the word and try again."""
    with tempfile.TemporaryDirectory(prefix="insula-", dir="/tmp") as name:
        async with make_world(Path(name), rate_limit_per_minute=3) as few:
            one, two = await key(few), await key(few)
            statuses = [(await ask(few, one, "GetRegions")).status_code for _ in range(3)]
            assert statuses == [200, 200, 200]
            assert kind(await ask(few, one, "GetRegions")) == "ThrottlingException"
            assert (await ask(few, two, "GetRegions")).status_code == 200
            wrong = Credentials(two.access_key, "s")
            kinds = [kind(await ask(few, wrong, "GetRegions")) for _ in range(11)]
            assert kinds == [*["InvalidSignatureException"] * 10, "ThrottlingException"]


async def test_half_a_character_is_refused(world: World) -> None:
    for text in ("\ud800", "\x00"):
        answer = await ask(world, await key(world), "GetInstance", instanceName=text)
        assert kind(answer) in {"SerializationException", "NotFoundException"}
    assert kind(await ask(world, await key(world), "GetInstance", instanceName="\U0001f600")) == "NotFoundException"


async def test_operations_that_are_none(world: World) -> None:
    assert kind(await ask(world, await key(world), "MakeCoffee")) == "UnknownOperationException"


async def test_the_date_header_will_do() -> None:
    now = datetime.datetime(2026, 11, 28, 14, tzinfo=datetime.UTC)
    scope = "K/20261128/us-east-1/lightsail/aws4_request"
    headers = [
        ("authorization", f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-target, Signature=0"),
        ("date", "Sat, 28 Nov 2026 14:00:00 GMT"),
    ]
    assert read_signature(Request("POST", "/", "", headers), now).moment == now
