"""The first start from a template while its guest is still the template's, on the fake driver."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from insula.base.errors import Conflict
from insula.node.agent import Node
from insula.node.hypervisor.driver import MachineSpec
from insula.node.hypervisor.fake import state
from insula.node.hypervisor.fake.driver import FakeDriver, Faults
from insula.protocol.node import InstanceSpec, Power, StopWay

from .conftest import make_node, no_phase, quiet
from .test_node import report_of
from .test_templates import first_boot, phases

NewSpec = Callable[..., InstanceSpec]
_AT_ONCE_S = 2.0  # far less than a guest may take to renew itself


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guests hang while they renew themselves."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("insula.node.agent.first_start.renew", never)


@pytest.fixture
async def renewing(hanging: None, node: Node, new_spec: NewSpec) -> InstanceSpec:
    """An instance that has been started."""
    spec = new_spec()
    await node.make_template(spec)
    await node.configure(spec)
    await node.make_disk(spec)
    async with asyncio.timeout(_AT_ONCE_S):
        await node.start(spec.id)
    return spec


async def goes_on(folder: Path, spec: InstanceSpec) -> None:
    """Until its machine runs, as the template's guest."""
    async with asyncio.timeout(_AT_ONCE_S):
        while (found := state.load(folder / "instances" / spec.id)) is None or found.status != "running":
            await asyncio.sleep(0.01)


async def test_a_guest_that_hangs_can_be_stopped_at_once(node: Node, renewing: InstanceSpec) -> None:
    assert (await report_of(node, renewing)).power is Power.BOOTING
    async with asyncio.timeout(_AT_ONCE_S):
        assert (await node.stop(renewing.id, 60)).way is StopWay.HARD
    assert (await report_of(node, renewing)).power is Power.OFF
    await node.start(renewing.id)
    assert phases(await node.await_ready(renewing.id, 10, no_phase))[0] == "firmware"


async def test_a_guest_that_hangs_can_be_deleted_at_once(node: Node, renewing: InstanceSpec, folder: Path) -> None:
    async with asyncio.timeout(_AT_ONCE_S):
        await node.forget(renewing.id)
    assert await node.observe() == []
    assert not (folder / "instances" / renewing.id).exists()


async def test_a_guest_that_is_not_itself_yet_is_left_alone(node: Node, renewing: InstanceSpec) -> None:
    async def enter() -> None:
        await node.execute(renewing.id, ["id"], b"", 5)

    wishes: list[Awaitable[object]] = [
        enter(),
        node.pause(renewing.id),
        node.resume(renewing.id),
        node.hibernate(renewing.id),
        node.reboot(renewing.id, 5),
    ]
    for wish in wishes:
        with pytest.raises(Conflict) as caught:
            await wish
        assert caught.value.code == "instance-renewing"


@pytest.mark.parametrize("what", ["crash", "reset"])
async def test_a_machine_that_breaks_off_is_booted(node: Node, renewing: InstanceSpec, folder: Path, what: str) -> None:
    await goes_on(folder, renewing)
    waiting = asyncio.create_task(node.await_ready(renewing.id, 10, no_phase))
    if what == "crash":
        state.crash(folder / "instances" / renewing.id)
    else:
        life = node._keepers[renewing.id]._life
        assert life is not None
        await life.machine.reset()
    assert phases(await waiting)[0] == "firmware", "who waits is led on to the boot"
    report = await report_of(node, renewing)
    assert (report.power, report.restarts) == (Power.ON, 0)


async def test_a_guest_that_cannot_renew_itself_is_booted(folder: Path, new_spec: NewSpec) -> None:
    def faults(spec: MachineSpec) -> Faults:
        return Faults(broken_program="renew") if spec.saved is not None else Faults()

    async with make_node(folder, FakeDriver(faults=faults)) as node:
        await node.prepare_image("tiny", quiet)
        spec = new_spec()
        await node.make_template(spec)
        assert phases(await first_boot(node, spec))[0] == "firmware"
        assert (await report_of(node, spec)).power is Power.ON


async def test_a_machine_that_does_not_go_on_is_booted(folder: Path, new_spec: NewSpec) -> None:
    def faults(spec: MachineSpec) -> Faults:
        return Faults(fail_start="no such device" if spec.saved is not None else "")

    async with make_node(folder, FakeDriver(faults=faults)) as node:
        await node.prepare_image("tiny", quiet)
        spec = new_spec()
        await node.make_template(spec)
        assert phases(await first_boot(node, spec))[0] == "firmware"


async def test_a_killed_service_boots_what_was_renewing(folder: Path, new_spec: NewSpec, hanging: None) -> None:
    spec = new_spec()
    async with make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        await node.make_template(spec)
        await node.configure(spec)
        await node.make_disk(spec)
        await node.start(spec.id)
        await goes_on(folder, spec)
        record, machine = (folder / "instances" / spec.id / name for name in ("spec.json", "fake.json"))
        as_killed = record.read_bytes(), machine.read_bytes()
    stopped = state.load(folder / "instances" / spec.id)
    assert stopped is not None
    assert stopped.status == "ended", "a service that stops leaves nobody else's guest behind"
    record.write_bytes(as_killed[0])
    machine.write_bytes(as_killed[1])
    async with make_node(folder) as node:
        assert phases(await node.await_ready(spec.id, 10, no_phase))[0] == "firmware"
