"""Names that are in use, and the network of all instances."""

from __future__ import annotations

from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail.dialect import answer, operation, page
from insula.frontends.dialects.lightsail.resource import everything


@operation("GetActiveNames")
async def get_active_names(ask: Ask) -> Answer:
    names = sorted({one.name for one in await everything(ask)})
    shown, more = page(ask, names, lambda name: name)
    return answer(activeNames=shown, **more)


@operation("IsVpcPeered")
async def is_vpc_peered(ask: Ask) -> Answer:
    """There is no other network of theirs here that it could be."""
    return answer(isPeered=False)
