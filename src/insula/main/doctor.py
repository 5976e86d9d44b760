"""The doctor without a running service: the node examines the host, nothing is started or changed."""

from __future__ import annotations

from collections.abc import Sequence

from insula.base.settings import Settings
from insula.node.agent.assemble import assemble
from insula.protocol.node import Check


async def examine(settings: Settings) -> Sequence[Check]:
    """What this host can do, what is wrong, how to mend it."""
    node = await assemble(settings)
    return await node.doctor()
