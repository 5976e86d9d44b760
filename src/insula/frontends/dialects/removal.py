"""Instances that go while others' things stay."""

from __future__ import annotations

from insula.domain.instance import Instance
from insula.domain.operation import Operation
from insula.frontends.dialects import public_ips
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.records import ALL, finished, patiently


async def remove(ask: Ask, instance: Instance) -> Operation:
    """Delete it when nothing else works on it; its volumes stay, and its own public address goes."""
    for attached in (await ask.actions.volumes.list(ask.caller, limit=ALL, instance=instance.id, used=False)).items:
        await finished(ask, (await ask.actions.volumes.detach(ask.caller, attached.id, force=True)).id)
    operation = await patiently(lambda: ask.actions.instances.delete(ask.caller, instance.id))
    await public_ips.take(ask, instance.id)
    return operation
