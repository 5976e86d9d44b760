"""Further network cards of instances: plugged into machines while they run, and whenever they start."""

from __future__ import annotations

import os
from collections.abc import Sequence

from insula.base.errors import Unsupported
from insula.node.hypervisor.driver import CanPlugCards, Machine, TapNic
from insula.node.network.wiring import InstanceNetwork
from insula.protocol.node import InstanceSpec, Nic


async def match(machine: Machine, spec: InstanceSpec, network: InstanceNetwork) -> None:
    """Let the machine have the cards of the specification after the first one, and no others. May be repeated.

    Raises what network and driver raise; what was changed before stays.
    """
    wanted = {nic.mac: nic for nic in spec.nics[1:]}
    if not isinstance(machine, CanPlugCards):
        if wanted:
            raise Unsupported("This driver's machines have one network card only", code="no-cards")
        return
    present = await machine.cards()
    for mac in sorted(present - set(wanted)):
        await machine.unplug_card(mac)
    await _plug(machine, [nic for mac, nic in wanted.items() if mac not in present], network)


async def _plug(machine: CanPlugCards, nics: Sequence[Nic], network: InstanceNetwork) -> None:
    for nic in nics:
        tap = await network.open_card(nic)
        try:
            await machine.plug_card(TapNic(nic.mac, tap))
        finally:
            os.close(tap)
