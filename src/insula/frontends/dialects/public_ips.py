"""Public addresses that instances have of their own, where the host has a pool of them.

With us they are reserved addresses. One that is an instance's own is none of the account's, and goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insula.base.errors import CapacityExceeded, Conflict, HostFailure, NotFound, Unsupported
from insula.control.actions.addresses import AddressWish
from insula.domain.address import ReservedAddress
from insula.domain.alias import Alias
from insula.frontends.dialects.dialect import Ask

_OWN = "own_of"


async def give(ask: Ask, instance_id: str) -> None:
    """One address of IPv4, if there is one left; otherwise the instance does without."""
    if not await ask.actions.addresses.left(ask.caller, 4):
        return
    try:
        made = await ask.actions.addresses.reserve(ask.caller, AddressWish(instance=instance_id))
    except (CapacityExceeded, Conflict, HostFailure, NotFound, Unsupported):
        return
    await ask.actions.aliases.note(made.id, own_by(instance_id))


def own_by(instance_id: str) -> dict[str, str]:
    """The facts that make a reserved address an instance's own."""
    return {_OWN: instance_id}


async def of(ask: Ask, instance_id: str) -> Sequence[ReservedAddress]:
    """What is an instance's own. Ask before it goes: afterwards nothing leads to it any more."""
    return [one for one in await own(ask) if one.instance_id == instance_id]


async def give_back(ask: Ask, owned: Sequence[ReservedAddress]) -> None:
    """Release what was an instance's own."""
    for one in owned:
        await ask.actions.addresses.unassign(ask.caller, one.id)
        await ask.actions.addresses.release(ask.caller, one.id)


async def own(ask: Ask) -> Sequence[ReservedAddress]:
    """All that are instances' own."""
    found, aliases = await _all(ask)
    return [one for one in found if _is_own(one, aliases)]


async def reserved(ask: Ask) -> Sequence[ReservedAddress]:
    """All of IPv4 that are the account's."""
    found, aliases = await _all(ask)
    return [one for one in found if ":" not in one.address and not _is_own(one, aliases)]


async def _all(ask: Ask) -> tuple[Sequence[ReservedAddress], Mapping[str, Alias]]:
    found = (await ask.actions.addresses.list(ask.caller)).items
    return found, await ask.actions.aliases.of(one.id for one in found)


def _is_own(address: ReservedAddress, aliases: Mapping[str, Alias]) -> bool:
    """Whether it still leads to the instance that it was given to."""
    return aliases[address.id].facts.get(_OWN) == (address.instance_id or "nobody")
