"""Requests to the service as botocore signs them, which is what its clients send."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from insula.domain.access import DEFAULT_PROJECT, Scope
from tests.api.world import World

URL = "http://insula/"


async def key(world: World, scopes: Sequence[Scope] = (Scope.ADMIN,), project: str = DEFAULT_PROJECT) -> Credentials:
    """The signing key of a token with exactly these scopes."""
    return key_of(world, (await world.new_token(scopes, project))[0].id)


def key_of(world: World, token_id: str) -> Credentials:
    made = world.signing.of(token_id)
    return Credentials(made.id, made.secret)


def request(operation: str, body: Any = None, *, url: str = URL, **headers: str) -> AWSRequest:
    """One that is not signed yet."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {"X-Amz-Target": f"Lightsail_20161128.{operation}", "Content-Type": "application/x-amz-json-1.1", **named}
    return AWSRequest("POST", url, data=json.dumps({} if body is None else body), headers=given)


def signed(credentials: Credentials, made: AWSRequest, region: str = "us-east-1") -> AWSRequest:
    SigV4Auth(credentials, "lightsail", region).add_auth(made)
    return made


async def send(world: World, made: AWSRequest) -> httpx.Response:
    """As it is, over TCP as far as the service can tell."""
    prepared = made.prepare()
    headers = [
        (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
        for name, value in prepared.headers.items()
    ]
    async with world.client() as client:
        return await client.request(prepared.method, prepared.url, content=prepared.body, headers=headers)


async def ask(world: World, credentials: Credentials, operation: str, **body: Any) -> httpx.Response:
    return await send(world, signed(credentials, request(operation, body)))
