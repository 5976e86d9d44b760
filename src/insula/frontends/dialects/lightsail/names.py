"""Names that are in use, and the network of all instances."""

from __future__ import annotations

import asyncio

from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail.dialect import answer, operation, page
from insula.frontends.dialects.lightsail.resource import disks, instances, key_pairs, snapshots, static_ips


@operation("GetActiveNames")
async def get_active_names(ask: Ask) -> Answer:
    there = await asyncio.gather(instances(ask), disks(ask), snapshots(ask), key_pairs(ask), static_ips(ask))
    names = sorted({one.name for found in there for one in found})
    shown, more = page(ask, names, lambda name: name)
    return answer(activeNames=shown, **more)


@operation("IsVpcPeered")
async def is_vpc_peered(ask: Ask) -> Answer:
    """There is no other network of theirs here that it could be."""
    return answer(isPeered=False)
