"""Instances that go while others' things stay, and those that are taken back before anybody has them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from insula.base.errors import InsulaError, NotFound
from insula.domain.address import ReservedAddress
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


async def take_back(ask: Ask, begun: Operation) -> None:
    """Undo the creation of an instance, with its own public address.

    What is nearly there when it is cancelled may yet be made, and is deleted then.
    """
    owned: Sequence[ReservedAddress] = ()
    with contextlib.suppress(InsulaError):
        owned = await public_ips.of(ask, begun.target)
    with contextlib.suppress(InsulaError):
        await ask.actions.operations.cancel(ask.caller, begun.id)
        await finished(ask, begun.id)
    with contextlib.suppress(NotFound):
        await patiently(lambda: ask.actions.instances.delete(ask.caller, begun.target))
    with contextlib.suppress(InsulaError):
        await public_ips.give_back(ask, owned)
