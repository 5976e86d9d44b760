"""Instances deleted as other vendors do it: what was attached stays, what was given with them goes."""

from __future__ import annotations

from insula.domain.instance import Instance
from insula.domain.operation import Operation
from insula.frontends.dialects import public_ips
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.records import ALL, finished


async def destroy(ask: Ask, instance: Instance) -> Operation:
    """Its volumes stay; it takes a moment to be gone."""
    for attached in (await ask.actions.volumes.list(ask.caller, limit=ALL, instance=instance.id, used=False)).items:
        await finished(ask, (await ask.actions.volumes.detach(ask.caller, attached.id, force=True)).id)
    operation = await ask.actions.instances.delete(ask.caller, instance.id)
    await public_ips.take(ask, instance.id)
    return operation
