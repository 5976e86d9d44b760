"""The endpoint of what instances send and receive."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from insula.domain.traffic import KEPT_DAYS, InstanceTraffic
from insula.frontends.api.endpoint import Call, answer, endpoint
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Nothing, Wish

MOST_HOURS = KEPT_DAYS * 24


class TrafficQuery(Wish, frozen=True):
    """For how many hours, the present one included."""

    hours: Annotated[int, Meta(ge=1, le=MOST_HOURS, description="How many hours, the present one included")] = 24


@endpoint(
    "GET",
    "/v1/instances/{instance}/traffic",
    action="traffic.show",
    asks=TrafficQuery,
    gives=InstanceTraffic,
)
async def instance_traffic(call: Call[Nothing, TrafficQuery]) -> Reply:
    """Show what an instance has sent and received at its network cards, hour by hour."""
    return answer(await call.actions.traffic.show(call.caller, call.path["instance"], call.query.hours))
