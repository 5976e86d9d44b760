"""What a driver promises whose machines can be given further network cards; the fake's as QEMU's."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import Conflict, Unsupported
from insula.domain.instance import MachineType
from insula.node.hypervisor.driver import CanPlugCards, Machine, MachineSpec, TapNic
from insula.node.network import scratch
from insula.node.network.keeper import SpaceKeeper
from tests.conformance.rigs import QemuRig, Rig, running
from tests.network.world import can_have_spaces
from tests.small_guest import console

pytestmark = pytest.mark.skipif(not can_have_spaces(), reason="needs a /dev/net/tun that we may open")

_SEEN_S = 15.0
Plug = Callable[[Machine, str], Awaitable[None]]


@pytest.fixture
async def plug() -> AsyncIterator[Plug]:
    """Plugs a card of this MAC address into a network of its own."""
    made: list[Path] = []

    async def plug_in(machine: Machine, mac: str) -> None:
        assert isinstance(machine, CanPlugCards)
        folder = Path(name) / str(len(made))
        tap = await scratch.make(folder, mac, None)
        made.append(folder)
        try:
            await machine.plug_card(TapNic(mac, tap))
        finally:
            os.close(tap)

    with tempfile.TemporaryDirectory(prefix="insula-cards-", dir="/var/tmp") as name:
        yield plug_in
        for folder in made:
            await SpaceKeeper(folder, None).remove()


async def adopted(rig: Rig, spec: MachineSpec) -> Machine:
    machine = await rig.driver().adopt(spec.id, spec.folder)
    assert machine is not None
    return machine


async def seen(rig: Rig, spec: MachineSpec) -> set[str]:
    """The MAC addresses of further cards, as the guest has them."""
    if not isinstance(rig, QemuRig):
        machine = await adopted(rig, spec)
        assert isinstance(machine, CanPlugCards)
        found = set(await machine.cards())
        await machine.detach()
        return found
    async with console(spec.folder) as typed:
        macs = await typed.run("cat /sys/class/net/*/address")
    return set(macs.split()) - {"00:00:00:00:00:00", spec.nic.mac if spec.nic else ""}


async def until(rig: Rig, spec: MachineSpec, macs: set[str]) -> None:
    async with asyncio.timeout(_SEEN_S):
        while await seen(rig, spec) != macs:
            await asyncio.sleep(0.2)


def mac_of(number: int) -> str:
    return f"52:54:00:00:01:{number:02x}"


async def test_cards_come_and_go(rig: Rig, plug: Plug) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanPlugCards)
        for number in (1, 2):
            await plug(machine, mac_of(number))
        await until(rig, spec, {mac_of(1), mac_of(2)})
        assert await machine.cards() == {mac_of(1), mac_of(2)}
        for _ in range(2):
            await machine.unplug_card(mac_of(1))
        await until(rig, spec, {mac_of(2)})
        await plug(machine, mac_of(3))
        assert await machine.cards() == {mac_of(2), mac_of(3)}
        await until(rig, spec, {mac_of(2), mac_of(3)})


async def test_cards_stay_with_a_machine_that_is_found_again(rig: Rig, plug: Plug) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        await plug(machine, mac_of(1))
        await machine.detach()
        again = await adopted(rig, spec)
        assert isinstance(again, CanPlugCards)
        assert await again.cards() == {mac_of(1)}
        await again.unplug_card(mac_of(1))
        assert await again.cards() == frozenset()
        await again.kill()


@pytest.mark.vm
async def test_what_has_no_place_for_a_card_says_so(plug: Plug, tmp_path_factory: pytest.TempPathFactory) -> None:
    rig = QemuRig(tmp_path_factory.mktemp("cards"))
    rig._uids = None
    spec = rig.spec()
    machine = await rig.driver().start(spec)
    try:
        for number in range(1, 4):
            await plug(machine, mac_of(number))
        with pytest.raises(Conflict) as full:
            await plug(machine, mac_of(4))
        assert full.value.code == "too-many-cards"
    finally:
        await machine.kill()
    small = replace(rig.spec("small"), machine_type=MachineType.MICROVM, nic=None)
    machine = await rig.driver().start(small)
    try:
        with pytest.raises(Unsupported) as none:
            await plug(machine, mac_of(5))
        assert none.value.code == "no-cards"
    finally:
        await machine.kill()
        rig.close()
