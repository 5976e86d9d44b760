"""Endpoints of the host and of the service itself."""

from __future__ import annotations

from typing import Any

import insula
from insula.domain.capacity import Capacity
from insula.frontends.api.endpoint import Call, answer, endpoint
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Health, ListOf, Nothing, Repair
from insula.protocol.node import Check, Leftover, NodeReport


@endpoint("GET", "/v1/health", gives=Health, public=True)
async def health(call: Call[Nothing, Nothing]) -> Reply:
    """Tell that the service answers."""
    return answer(Health("ok", insula.__version__))


@endpoint("GET", "/v1/openapi.json", gives=dict[str, Any], public=True)
async def openapi(call: Call[Nothing, Nothing]) -> Reply:
    """Get this description of the API."""
    return Reply(call.service.description)


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
