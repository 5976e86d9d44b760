"""Every verb from its acceptance to its end, on a node with the fake driver."""

from __future__ import annotations

from dataclasses import asdict, replace

from insula.base.errors import NotFound
from insula.domain.instance import InstanceState
from insula.domain.operation import OperationState, StepState, Verb
from insula.protocol.node import Power
from tests.operations.control import Control, make_instance


async def power(control: Control, instance_id: str) -> Power:
    reports = {report.id: report.power for report in await control.node.observe()}
    return reports.get(instance_id, Power.ABSENT)


async def test_create_makes_a_running_instance(control: Control) -> None:
    instance = make_instance()
    ended = await control.do(Verb.CREATE_INSTANCE, instance)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert [(step.name, step.state) for step in ended.steps] == [
        (name, StepState.DONE) for name in ("image", "configure", "network", "disk", "boot")
    ]
    found = await control.store.instances.get("default", "web1")
    assert found.state is InstanceState.RUNNING
    assert found.started_at is not None
    assert [phase.name for phase in found.boot_phases][-1] == "ready"
    assert await power(control, found.id) is Power.ON
    events = await control.events(ended)
    assert [event.sequence for event in events] == sorted({event.sequence for event in events})
    assert "ready" in [event.step for event in events if event.kind == "phase"]
    assert events[-1].kind == "state"
    assert events[-1].data == {"state": "succeeded"}


async def test_stop_and_start(control: Control) -> None:
    instance = await control.create()
    stopped = await control.do(Verb.STOP_INSTANCE, instance, graceful_s=10)
    assert stopped.result is not None
    assert stopped.result["way"] == "agent"
    assert (await control.store.instances.get("default", "web1")).state is InstanceState.STOPPED
    assert await power(control, instance.id) is Power.OFF
    started = await control.do(Verb.START_INSTANCE, instance)
    assert started.state is OperationState.SUCCEEDED
    assert (await control.store.instances.get("default", "web1")).state is InstanceState.RUNNING
    assert await power(control, instance.id) is Power.ON


async def test_create_without_start(control: Control) -> None:
    instance = await control.create(start=False)
    assert instance.state is InstanceState.STOPPED
    assert await power(control, instance.id) in {Power.OFF, Power.ABSENT}


async def test_reboot(control: Control) -> None:
    instance = await control.create()
    ended = await control.do(Verb.REBOOT_INSTANCE, instance, graceful_s=10)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert (await control.store.instances.get("default", "web1")).state is InstanceState.RUNNING
    assert await power(control, instance.id) is Power.ON


async def test_resize(control: Control) -> None:
    instance = await control.create()
    bigger = replace(instance.resources, vcpus=2, memory_mib=256, disk_gib=4)
    ended = await control.do(Verb.RESIZE_INSTANCE, instance, resources=asdict(bigger), plan="entry-1", graceful_s=10)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    found = await control.store.instances.get("default", "web1")
    assert found.resources == bigger
    assert found.plan == "entry-1"
    assert found.state is InstanceState.RUNNING
    assert await power(control, instance.id) is Power.ON


async def test_limits_of_the_network_change_while_the_guest_runs(control: Control) -> None:
    instance = await control.create()
    limited = replace(instance.resources, network_mbps=10, network_pps=500)
    ended = await control.do(Verb.RESIZE_INSTANCE, instance, resources=asdict(limited), plan=instance.plan)
    assert ended.result == {"rebooted": False}
    found = await control.store.instances.get("default", "web1")
    assert [(port.megabits_per_second, port.packets_per_second) for port in found.limited_ports] == [(10, 500)]


async def test_rebuild(control: Control) -> None:
    instance = await control.create()
    ended = await control.do(Verb.REBUILD_INSTANCE, instance, image="debian-12", user_data="#!/bin/sh", graceful_s=10)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    found = await control.store.instances.get("default", "web1")
    assert (found.image, found.user_data, found.state) == ("debian-12", "#!/bin/sh", InstanceState.RUNNING)
    assert await power(control, instance.id) is Power.ON


async def test_delete_removes_everything(control: Control) -> None:
    instance = await control.create()
    ended = await control.do(Verb.DELETE_INSTANCE, instance)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert await control.store.instances.find(instance.id) is None
    assert await power(control, instance.id) is Power.ABSENT
    assert await control.node.leftovers(frozenset(), remove=False) == []
    again = make_instance(forwards=instance.forwards)
    assert (await control.do(Verb.CREATE_INSTANCE, again)).state is OperationState.SUCCEEDED


async def test_images(control: Control) -> None:
    prepared = await control.do(Verb.PREPARE_IMAGE, "tiny")
    assert prepared.result is not None
    assert prepared.result["state"] == "ready"
    deleted = await control.do(Verb.DELETE_IMAGE, "tiny")
    assert deleted.state is OperationState.SUCCEEDED
    missing = await control.do(Verb.PREPARE_IMAGE, "no-such-image")
    assert missing.state is OperationState.FAILED
    assert missing.error is not None
    assert missing.error["kind"] == NotFound.__name__


async def test_pause_and_resume(control: Control) -> None:
    instance = await control.create()
    paused = await control.do(Verb.PAUSE_INSTANCE, instance)
    assert paused.state is OperationState.SUCCEEDED, paused.error
    assert (await control.store.instances.get("default", "web1")).state is InstanceState.PAUSED
    assert await power(control, instance.id) is Power.PAUSED
    resumed = await control.do(Verb.RESUME_INSTANCE, instance)
    assert resumed.state is OperationState.SUCCEEDED, resumed.error
    assert (await control.store.instances.get("default", "web1")).state is InstanceState.RUNNING
    assert await power(control, instance.id) is Power.ON


async def test_a_paused_guest_can_still_shut_down_by_itself(control: Control) -> None:
    instance = await control.create()
    await control.do(Verb.PAUSE_INSTANCE, instance)
    stopped = await control.do(Verb.STOP_INSTANCE, instance, graceful_s=10)
    assert stopped.result is not None
    assert stopped.result["way"] == "agent"


async def test_hibernate_and_wake(control: Control) -> None:
    instance = await control.create()
    hibernated = await control.do(Verb.HIBERNATE_INSTANCE, instance)
    assert hibernated.state is OperationState.SUCCEEDED, hibernated.error
    found = await control.store.instances.get("default", "web1")
    assert (found.state, found.started_at) == (InstanceState.HIBERNATED, None)
    assert await power(control, instance.id) is Power.HIBERNATED
    woken = await control.do(Verb.START_INSTANCE, instance)
    assert woken.state is OperationState.SUCCEEDED, woken.error
    found = await control.store.instances.get("default", "web1")
    assert [phase.name for phase in found.boot_phases] == ["wake", "ready"]
    assert await power(control, instance.id) is Power.ON


async def test_a_cold_start_gives_the_memory_up(control: Control) -> None:
    instance = await control.create()
    await control.do(Verb.HIBERNATE_INSTANCE, instance)
    started = await control.do(Verb.START_INSTANCE, instance, cold=True)
    assert started.state is OperationState.SUCCEEDED, started.error
    found = await control.store.instances.get("default", "web1")
    assert found.boot_phases[0].name == "firmware"


async def test_a_hibernated_instance_can_be_deleted(control: Control) -> None:
    instance = await control.create()
    await control.do(Verb.HIBERNATE_INSTANCE, instance)
    deleted = await control.do(Verb.DELETE_INSTANCE, instance)
    assert deleted.state is OperationState.SUCCEEDED, deleted.error
    assert await power(control, instance.id) is Power.ABSENT
