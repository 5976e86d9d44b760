"""Instances that go while others' things stay."""

from __future__ import annotations

from functools import partial

from insula.domain.instance import Instance
from insula.domain.operation import Operation
from insula.frontends.dialects import public_ips
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.records import ALL, finished, patiently


async def remove(ask: Ask, instance: Instance) -> Operation:
    """Delete it when nothing else works on it; its volumes stay, and its own public address goes."""
    attached = (await ask.actions.volumes.list(ask.caller, limit=ALL, instance=instance.id, used=False)).items
    for record in [each.id for each in attached]:
        begun = await patiently(partial(ask.actions.volumes.detach, ask.caller, record, force=True))
        await finished(ask, begun.id)
    owned = await public_ips.of(ask, instance.id)
    operation = await patiently(lambda: ask.actions.instances.delete(ask.caller, instance.id))
    await public_ips.give_back(ask, owned)
    return operation
