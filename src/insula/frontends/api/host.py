"""Endpoints of the host and of the service itself."""

from __future__ import annotations

from typing import Any

import insula
from insula.base.errors import NotFound
from insula.domain.capacity import Capacity
from insula.frontends.api.endpoint import Call, answer, endpoint
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Authority, Health, ListOf, Nothing, Repair
from insula.protocol.node import Check, Leftover, NodeReport


@endpoint("GET", "/v1/health", gives=Health, public=True)
async def health(call: Call[Nothing, Nothing]) -> Reply:
    """Tell that the service answers."""
    return answer(Health("ok", insula.__version__))


@endpoint("GET", "/v1/openapi.json", gives=dict[str, Any], public=True)
async def openapi(call: Call[Nothing, Nothing]) -> Reply:
    """Get this description of the API."""
    return Reply(call.service.description)


@endpoint("GET", "/v1/ca", gives=Authority, public=True)
async def show_authority(call: Call[Nothing, Nothing]) -> Reply:
    """Get the certificate of the authority that the service's certificate over HTTPS is from."""
    if call.service.certificates is None:
        raise NotFound(
            "The service is not there over HTTPS",
            why="INSULA_LISTEN_TLS is off",
            todo="Set it to an address like 127.0.0.1:7781, and start the service again",
            code="no-https",
        )
    return answer(Authority(call.service.certificates.authority_pem))


@endpoint("GET", "/v1/host/capacity", action="host.capacity", gives=ListOf[Capacity])
async def capacity(call: Call[Nothing, Nothing]) -> Reply:
    """Show what each node promises, and what of it is taken."""
    return answer(ListOf(await call.actions.host.capacity(call.caller)))


@endpoint("GET", "/v1/host/nodes", action="host.nodes", gives=ListOf[NodeReport])
async def nodes(call: Call[Nothing, Nothing]) -> Reply:
    """Show what each node is, can and lacks."""
    return answer(ListOf(await call.actions.host.nodes(call.caller)))


@endpoint("GET", "/v1/host/doctor", action="host.doctor", gives=ListOf[Check])
async def doctor(call: Call[Nothing, Nothing]) -> Reply:
    """Examine the host: what works, what is wrong, how to mend it."""
    return answer(ListOf(await call.actions.host.doctor(call.caller)))


@endpoint("POST", "/v1/host/repair", action="host.repair", takes=Repair, gives=ListOf[Leftover], optional_body=True)
async def repair(call: Call[Repair, Nothing]) -> Reply:
    """Find, and remove unless told otherwise, what no record owns."""
    return answer(ListOf(await call.actions.host.repair(call.caller, call.body.remove)))
