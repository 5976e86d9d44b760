"""Templates: made from a booted guest, found by what they depend on, and gone on from; on the fake driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import GuestFailure, Unsupported
from insula.domain.instance import Firmware, MachineType, Platform, Resources
from insula.node.agent import Node
from insula.node.agent.template_key import Ingredients
from insula.node.hypervisor.driver import MachineSpec
from insula.node.hypervisor.fake import state
from insula.node.hypervisor.fake.driver import FakeDriver, Faults
from insula.node.storage.backend import BootableImage
from insula.protocol.node import BootReport, InstanceSpec, Power
from tests.connected import alone

from .conftest import make_node, no_phase, quiet
from .test_node import report_of

NewSpec = Callable[..., InstanceSpec]

_INGREDIENTS = Ingredients(
    image_disk="/images/tiny/1/disk.qcow2",
    image_bytes=1000,
    kernel="/images/tiny/1/vmlinuz",
    initrd="",
    command_line="console=ttyS0",
    hypervisor="QEMU 7.2",
    accelerator="kvm",
    network="namespace",
    machine_type=MachineType.Q35,
    firmware=Firmware.BIOS,
    vcpus=1,
    memory_mib=128,
    disk_gib=2,
)


@pytest.mark.parametrize(
    "change",
    [
        {"image_disk": "/images/tiny/2/disk.qcow2"},
        {"image_bytes": 1001},
        {"kernel": "/images/tiny/2/vmlinuz"},
        {"initrd": "/images/tiny/1/initrd"},
        {"command_line": "quiet"},
        {"hypervisor": "QEMU 8.0"},
        {"accelerator": "tcg"},
        {"network": "bridges"},
        {"machine_type": MachineType.MICROVM},
        {"firmware": Firmware.UEFI},
        {"vcpus": 2},
        {"memory_mib": 256},
        {"disk_gib": 3},
        {"layout": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_key_changes_with_each_ingredient(change: dict[str, object]) -> None:
    assert replace(_INGREDIENTS, **change).key != _INGREDIENTS.key  # type: ignore[arg-type]  # the table gives fitting values
    assert replace(_INGREDIENTS).key == _INGREDIENTS.key


async def first_boot(node: Node, spec: InstanceSpec) -> BootReport:
    await node.configure(spec)
    await node.make_disk(spec)
    await node.start(spec.id)
    return await node.await_ready(spec.id, 10, no_phase)


def phases(boot: BootReport) -> list[str]:
    return [phase.name for phase in boot.phases]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "templates").iterdir())


async def test_a_template_is_made_once_and_leaves_nothing_else(node: Node, new_spec: NewSpec, folder: Path) -> None:
    template = await node.make_template(new_spec())
    assert left_in(folder) == [template.name]
    assert sorted(path.name for path in template.folder.iterdir()) == [
        "devices",
        "disk.qcow2",
        "memory",
        "template.json",
    ]
    before = template.disk.stat()
    assert await node.make_template(new_spec(name="other", nics=(alone("52:54:00:00:00:09"),))) == template
    assert template.disk.stat() == before
    assert await node.observe() == []


async def test_an_instance_goes_on_from_its_template_as_itself(node: Node, new_spec: NewSpec, folder: Path) -> None:
    await node.make_template(new_spec())
    for number in range(2):
        spec = new_spec(name=f"web{number}", nics=(alone(f"52:54:00:00:00:0{number}"),))
        boot = await first_boot(node, spec)
        assert phases(boot) == ["renew", "ready"]
        assert (await report_of(node, spec)).power is Power.ON
        renewed = await node.execute(spec.id, ["cat", "/var/lib/insula/renewed"], b"", 5)
        assert renewed.stdout.decode() == f"{spec.mac}\n"
        found = state.load(folder / "instances" / spec.id)
        assert found is not None
        assert found.link_up
    await node.stop(spec.id, 5)
    await node.start(spec.id)
    assert phases(await node.await_ready(spec.id, 10, no_phase))[0] == "firmware"


async def test_a_cold_instance_boots_where_others_go_on(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await node.make_template(spec)
    await node.configure(spec)
    await node.make_disk(spec, cold=True)
    await node.start(spec.id)
    assert phases(await node.await_ready(spec.id, 10, no_phase))[0] == "firmware"


async def test_a_template_serves_the_next_service_too(folder: Path, new_spec: NewSpec) -> None:
    async with make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        await node.warm_image(new_spec())
    async with make_node(folder) as node:
        assert phases(await first_boot(node, new_spec())) == ["renew", "ready"]


async def test_a_rebuilt_instance_goes_on_from_its_template_and_the_old_disk_does_not(
    node: Node, new_spec: NewSpec
) -> None:
    spec = new_spec()
    await node.warm_image(spec)
    await first_boot(node, spec)
    await node.stop(spec.id, 5)
    await node.set_disk_aside(spec.id)
    assert phases(await first_boot(node, spec)) == ["renew", "ready"]
    await node.stop(spec.id, 0)
    await node.bring_disk_back(spec.id)
    await node.start(spec.id)
    assert phases(await node.await_ready(spec.id, 10, no_phase))[0] == "firmware"


async def test_nothing_of_the_first_instance_is_in_a_template(folder: Path, new_spec: NewSpec) -> None:
    seen: list[MachineSpec] = []

    def noted(spec: MachineSpec) -> Faults:
        seen.append(spec)
        return Faults()

    async with make_node(folder, FakeDriver(faults=noted)) as node:
        await node.prepare_image("tiny", quiet)
        resources = Resources(vcpus=1, memory_mib=128, disk_gib=2, cpu_percent=100, disk_iops=10, network_mbps=5)
        await node.warm_image(new_spec(name="secret", user_data="#!/bin/sh\necho secret\n", resources=resources))
    (spec,) = seen
    assert (spec.name, spec.resources.disk_iops, spec.resources.network_mbps) == ("template", 0, 0)
    assert spec.memory is not None
    assert not spec.memory.is_sealed


async def test_without_a_fitting_template_an_instance_boots(node: Node, new_spec: NewSpec) -> None:
    await node.make_template(new_spec())
    larger = Resources(vcpus=1, memory_mib=256, disk_gib=2, cpu_percent=100)
    assert phases(await first_boot(node, new_spec(resources=larger)))[0] == "firmware"


@pytest.mark.parametrize("change", ["grown", "resized", "used up"])
async def test_what_changed_after_the_disk_was_made_is_booted(node: Node, new_spec: NewSpec, change: str) -> None:
    spec = new_spec()
    template = await node.make_template(spec)
    await node.configure(spec)
    await node.make_disk(spec)
    if change == "grown":
        await node.grow_disk(spec.id, 5)
    elif change == "resized":
        await node.configure(replace(spec, resources=replace(spec.resources, vcpus=2)))
    else:
        template.devices.unlink()
    await node.start(spec.id)
    assert phases(await node.await_ready(spec.id, 10, no_phase))[0] == "firmware"


async def test_a_template_that_does_not_become_ready_leaves_nothing(
    folder: Path, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insula.node.agent.template_maker._READY_S", 0.1)
    async with make_node(folder, FakeDriver(faults=Faults(never_ready=True))) as node:
        await node.prepare_image("tiny", quiet)
        with pytest.raises(GuestFailure):
            await node.make_template(new_spec())
        assert left_in(folder) == []


async def test_what_a_killed_service_was_making_is_ended_and_removed(
    folder: Path, driver: FakeDriver, new_spec: NewSpec
) -> None:
    async with make_node(folder, FakeDriver(boot_s=60)) as node:
        await node.prepare_image("tiny", quiet)
        making = asyncio.create_task(node.make_template(new_spec()))
        async with asyncio.timeout(5):
            while not (drafts := list(folder.glob("templates/.building-*/fake.json"))):
                await asyncio.sleep(0.01)
        draft = drafts[0].parent
        as_killed = drafts[0].read_bytes()
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
        assert left_in(folder) == []
    draft.mkdir()
    (draft / "fake.json").write_bytes(as_killed)
    async with make_node(folder):
        assert left_in(folder) == []


@pytest.mark.parametrize("lacking", [{"renew": ()}, {"direct_boot": None}, {"behind": (Path("/other"),)}])
async def test_what_cannot_have_a_template_says_so(
    node: Node, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch, lacking: dict[str, object]
) -> None:
    image = replace(await node._parts.images.bootable("tiny"), **lacking)  # type: ignore[arg-type]  # fields of it

    async def bootable(_: str) -> BootableImage:
        return image

    monkeypatch.setattr(node._parts.images, "bootable", bootable)
    with pytest.raises(Unsupported) as caught:
        await node.make_template(new_spec())
    assert caught.value.code == "no-template"
    assert phases(await first_boot(node, new_spec()))[0] == "firmware"


@pytest.mark.parametrize("firmware", Firmware)
@pytest.mark.parametrize("machine_type", MachineType)
async def test_every_board_can_have_one(
    node: Node, new_spec: NewSpec, folder: Path, firmware: Firmware, machine_type: MachineType
) -> None:
    resources = Resources(vcpus=1, memory_mib=256, disk_gib=2, cpu_percent=100)
    spec = new_spec(firmware=firmware, machine_type=machine_type, resources=resources)
    template = await node.make_template(spec)
    assert phases(await first_boot(node, spec)) == ["renew", "ready"]
    nvram = folder / "instances" / spec.id / "nvram.qcow2"
    assert nvram.exists() is (firmware is Firmware.UEFI)
    if firmware is Firmware.UEFI:
        assert template.nvram is not None
        assert nvram.read_bytes() == template.nvram.read_bytes(), "its memory knows these variables"


async def test_a_guest_without_the_renewing_program_gets_no_template(
    node: Node, new_spec: NewSpec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insula.node.agent.template_maker.PROGRAM", "/usr/lib/insula/missing")
    with pytest.raises(Unsupported):
        await node.make_template(new_spec())
    assert left_in(folder) == []


async def test_a_machine_that_says_what_it_is_boots(node: Node, new_spec: NewSpec) -> None:
    await node.make_template(new_spec())
    assert phases(await first_boot(node, new_spec()))[0] == "renew"
    assert phases(await first_boot(node, new_spec(platform=Platform.EC2)))[0] == "firmware"
