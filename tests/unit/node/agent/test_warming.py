"""Templates that the node makes by itself, on the fake driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import Unsupported
from insula.base.settings import load
from insula.domain.capacity import Share
from insula.domain.instance import Resources
from insula.node.agent import assemble
from insula.node.agent.template_rules import Making, TemplateRules
from insula.node.hypervisor.driver import MachineSpec
from insula.node.hypervisor.fake.driver import FakeDriver, Faults
from insula.protocol.node import InstanceSpec

from .conftest import ASKED, make_node, no_phase, quiet
from .test_templates import first_boot, left_in, phases

NewSpec = Callable[..., InstanceSpec]

AUTO = TemplateRules(Making.AUTO, settle_s=0.0, calm_load=1e9, pause_s=0.01, longest_pause_s=0.02)
_PATIENCE_S = 5.0
_LONG_ENOUGH_S = 0.3  # for a template to be made, if one were


def slow_templates(spec: MachineSpec) -> Faults:
    """Templates' guests boot for ever, instances' at once."""
    return Faults(never_ready=spec.name == "template")


def templates_in(folder: Path) -> list[str]:
    return [name for name in left_in(folder) if not name.startswith(".")] if (folder / "templates").exists() else []


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not is_true():
            await asyncio.sleep(0.01)


async def drafting(folder: Path) -> None:
    await until(lambda: bool(list(folder.glob("templates/.building-*/fake.json"))))


async def test_an_instance_that_booted_has_a_template_made_for_the_next(folder: Path, new_spec: NewSpec) -> None:
    async with make_node(folder, templates=AUTO) as node:
        await node.prepare_image("tiny", quiet)
        assert phases(await first_boot(node, new_spec()))[0] == "firmware"
        await until(lambda: len(templates_in(folder)) == 1)
        assert phases(await first_boot(node, new_spec(name="web2"))) == ["renew", "ready"]
        larger = Resources(vcpus=1, memory_mib=256, disk_gib=2, cpu_percent=100)
        await first_boot(node, new_spec(name="web3", resources=larger))
        await until(lambda: len(templates_in(folder)) == 2)


@pytest.mark.parametrize("making", [Making.ASKED, Making.NEVER])
async def test_by_itself_it_makes_none_unless_it_should(folder: Path, new_spec: NewSpec, making: Making) -> None:
    async with make_node(folder, templates=replace(AUTO, making=making)) as node:
        await node.prepare_image("tiny", quiet)
        await first_boot(node, new_spec())
        await asyncio.sleep(_LONG_ENOUGH_S)
        assert templates_in(folder) == []


async def test_with_never_none_is_made_or_used(folder: Path, new_spec: NewSpec) -> None:
    async with make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        await node.warm_image(new_spec())
    async with make_node(folder, templates=replace(ASKED, making=Making.NEVER)) as node:
        assert phases(await first_boot(node, new_spec()))[0] == "firmware"
        with pytest.raises(Unsupported) as caught:
            await node.warm_image(new_spec())
        assert caught.value.code == "templates-off"


async def test_the_settings_reach_the_node(folder: Path, new_spec: NewSpec) -> None:
    own = {"INSULA_HOME": str(folder), "INSULA_DRIVER": "fake", "INSULA_TEMPLATES": "never"}
    own |= {"INSULA_TEMPLATE_MEMORY_MIB": "12", "INSULA_TEMPLATE_DISK_GIB": "3.5"}
    async with await assemble(load(own)) as node:
        with pytest.raises(Unsupported):
            await node.warm_image(new_spec())
        assert "0.0 of 3.5 GiB on disk and 0 of 12 MiB in memory" in (await node.doctor())[-1].detail


async def test_an_instance_that_starts_comes_first(folder: Path, new_spec: NewSpec) -> None:
    async with make_node(folder, FakeDriver(faults=slow_templates), AUTO) as node:
        await node.prepare_image("tiny", quiet)
        spec = new_spec()
        await first_boot(node, spec)
        await drafting(folder)
        assert (await node.describe()).spare == Share(128, 100)
        await node.stop(spec.id, 0)
        await node.start(spec.id)
        assert not list(folder.glob("templates/.building-*/fake.json")), "both would need the memory"
        await node.await_ready(spec.id, 5, no_phase)
        await drafting(folder)  # and again later
    assert left_in(folder) == []


async def test_what_was_asked_for_is_made_beside_an_instance_and_counts(folder: Path, new_spec: NewSpec) -> None:
    async with make_node(folder, FakeDriver(faults=slow_templates)) as node:
        await node.prepare_image("tiny", quiet)
        making = asyncio.create_task(node.warm_image(new_spec()))
        await drafting(folder)
        await first_boot(node, new_spec())
        report = await node.describe()
        assert (report.templates, report.spare) == (Share(128, 100), Share())
        assert not making.done()
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
        assert (await node.describe()).templates == Share()


async def test_what_failed_is_not_tried_again_until_it_is_asked_for(folder: Path, new_spec: NewSpec) -> None:
    tries: list[str] = []

    def faults(spec: MachineSpec) -> Faults:
        tries.append(spec.name)
        return Faults(crash_after_s=0.001, never_ready=True) if spec.name == "template" else Faults()

    driver = FakeDriver(faults=faults)
    async with make_node(folder, driver, AUTO) as node:
        await node.prepare_image("tiny", quiet)
        await first_boot(node, new_spec())
        await until((folder / "templates" / "failures.json").exists)
    async with make_node(folder, driver, AUTO) as node:
        await first_boot(node, new_spec())
        await asyncio.sleep(_LONG_ENOUGH_S)
        assert tries.count("template") == 1, "a restart must not forget it"
        driver.faults = Faults()
        await node.warm_image(new_spec())
        assert len([name for name in left_in(folder) if len(name) >= 64]) == 1
        assert (folder / "templates" / "failures.json").read_bytes() == b"{}"


async def test_trouble_of_the_host_is_tried_once_more(folder: Path, new_spec: NewSpec) -> None:
    tries: list[str] = []

    def faults(spec: MachineSpec) -> Faults:
        tries.append(spec.name)
        return Faults(fail_start="no memory" if spec.name == "template" else "")

    async with make_node(folder, FakeDriver(faults=faults), AUTO) as node:
        await node.prepare_image("tiny", quiet)
        await first_boot(node, new_spec())
        await until((folder / "templates" / "failures.json").exists)
        await asyncio.sleep(_LONG_ENOUGH_S)
        assert tries.count("template") == 2


@pytest.mark.parametrize("lacking", ["memory_mib", "available_memory_mib"])
async def test_without_room_beside_the_instances_none_is_made(
    folder: Path, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    promised_mib = 2 * 128 if lacking == "memory_mib" else 0
    monkeypatch.setattr(f"insula.node.agent.warming.{lacking}", lambda: 512 + promised_mib + 127)
    async with make_node(folder, templates=AUTO) as node:
        await node.prepare_image("tiny", quiet)
        await node.configure(new_spec(name="web2"))
        await first_boot(node, new_spec())
        await asyncio.sleep(_LONG_ENOUGH_S)
        assert templates_in(folder) == []
        monkeypatch.setattr(f"insula.node.agent.warming.{lacking}", lambda: 512 + promised_mib + 128)
        await until(lambda: len(templates_in(folder)) == 1)


@pytest.mark.parametrize("trouble", ["load", "a booting instance"])
async def test_a_host_that_is_not_calm_is_left_alone(folder: Path, new_spec: NewSpec, trouble: str) -> None:
    def faults(spec: MachineSpec) -> Faults:
        return Faults(never_ready=spec.name == "slow")

    rules = replace(AUTO, calm_load=-1.0) if trouble == "load" else AUTO
    async with make_node(folder, FakeDriver(faults=faults), rules) as node:
        await node.prepare_image("tiny", quiet)
        slow = new_spec(name="slow")
        if trouble == "a booting instance":
            await node.configure(slow)
            await node.make_disk(slow)
            await node.start(slow.id)
        await first_boot(node, new_spec())
        await asyncio.sleep(_LONG_ENOUGH_S)
        assert templates_in(folder) == []


async def test_memory_that_a_template_keeps_is_given_to_an_instance(
    folder: Path, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        await node.warm_image(new_spec())
        kept = node._templates._memories
        await first_boot(node, new_spec())
        assert kept.names
        monkeypatch.setattr("insula.node.agent.templates.available_memory_mib", lambda: 100)
        larger = Resources(vcpus=1, memory_mib=256, disk_gib=2, cpu_percent=100)
        await first_boot(node, new_spec(resources=larger))
        assert not kept.names
