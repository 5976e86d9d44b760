"""Endpoints of ports of the host that lead to instances."""

from __future__ import annotations

from insula.base.errors import NotFound
from insula.frontends.api.endpoint import Call, answer, created, endpoint
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Forward, ForwardQuery, InstanceView, Nothing, view


@endpoint(
    "POST", "/v1/instances/{instance}/forwards", action="forwards.add", takes=Forward, gives=InstanceView, status=201
)
async def add_forward(call: Call[Forward, Nothing]) -> Reply:
    """Open a port of the host that leads to an instance; it is open when this is answered."""
    changed = await call.actions.forwards.add(call.caller, call.path["instance"], call.body.to_domain())
    return created(view(changed), f"/v1/instances/{changed.id}")


@endpoint(
    "DELETE",
    "/v1/instances/{instance}/forwards/{host_port}",
    action="forwards.remove",
    asks=ForwardQuery,
    gives=InstanceView,
)
async def remove_forward(call: Call[Nothing, ForwardQuery]) -> Reply:
    """Close a port of the host; connections that came through it go on."""
    text = call.path["host_port"]
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise NotFound(
            f"{text[:20]!r} is no port", why="A port is a number", todo="Look at the instance", code="unknown-forward"
        )
    name = call.path["instance"]
    return answer(view(await call.actions.forwards.remove(call.caller, name, int(text), call.query.protocol)))
