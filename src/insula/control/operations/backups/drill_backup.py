"""Drill: a backup is restored as an instance that nobody sees, without a network; it boots, and a command is tried.

What is wrong with the backup is the drill's result; what is wrong with the host or the line fails the operation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from insula.base.clock import iso, monotonic_s, now_utc
from insula.base.errors import DataCorrupt, GuestFailure, InsulaError, NotFound, Unsupported
from insula.control.operations.backups.steps import DEADLINE_S, patiently, store_id
from insula.control.operations.engine.lanes import BOOT
from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.domain.backup import KEPT_DRILLS, Backup, Drill
from insula.domain.instance import BootPhase, Platform, Resources, RestartPolicy
from insula.domain.operation import Verb
from insula.protocol.node import InstanceSpec

BOOT_TIMEOUT_S = 1800.0  # twice what a creation gets: its first boot repairs what a power cut left
COMMAND_TIMEOUT_S = 900.0
_TRY_DEADLINE_S = 24 * 3600.0  # boots wait for their turn; what is tried has time limits of its own
_OUTPUT_CHARS, _CONSOLE_BYTES = 2000, 2000


def instance_id(work: Work) -> str:
    """The instance of this drill."""
    return str(work.params["instance_id"])


def spec(work: Work) -> InstanceSpec:
    """The node's view of it: what the backup's instance was, as nobody whom a network or a user reaches."""
    then = msgspec.convert(work.params["backup"], Backup)
    return InstanceSpec(
        id=instance_id(work),
        project=then.project,
        name=f"drill-{instance_id(work)[-6:]}",
        hostname=then.instance_name,
        image=then.image,
        resources=msgspec.convert(work.params["resources"], Resources),
        firmware=then.firmware,
        machine_type=then.machine_type,
        platform=Platform.NOCLOUD,  # it has no network to ask for metadata in
        restart_policy=RestartPolicy.NEVER,
    )


async def restore(work: Work) -> Facts:
    began_s = monotonic_s()
    await work.node.configure(spec(work))
    try:
        await patiently(
            work,
            lambda: work.node.make_disk_from_backup(
                spec(work), store_id(work), work.target_backup.id, work.report.progress
            ),
        )
    except (DataCorrupt, NotFound, Unsupported) as error:
        return {"problem": str(error), "restored_ms": round(1000 * (monotonic_s() - began_s))}
    return {"problem": "", "restored_ms": round(1000 * (monotonic_s() - began_s))}


async def remove(work: Work) -> None:
    await work.node.forget(instance_id(work))


async def try_it(work: Work) -> Facts:
    if work.facts["problem"]:
        return {"tried": _tried(work.facts["problem"])}
    began_s = monotonic_s()
    async with work.turn(BOOT):
        tried = await _boot(work)
    return {"tried": {**tried, "took_ms": round(1000 * (monotonic_s() - began_s))}}


async def _boot(work: Work) -> Mapping[str, Any]:
    node, guest = work.node, instance_id(work)
    try:
        await node.start(guest)
        await node.await_ready(guest, BOOT_TIMEOUT_S, _phase_of(work))
    except GuestFailure as error:
        return _tried(str(error), console=await _console(work))
    command = str(work.params.get("command") or "")
    if not command:
        return _tried("", console=await _console(work))
    try:
        done = await node.execute(guest, ["/bin/sh", "-c", command], b"", COMMAND_TIMEOUT_S)
    except GuestFailure as error:
        return _tried(str(error), console=await _console(work))
    output = (done.stdout + done.stderr).decode(errors="replace")[-_OUTPUT_CHARS:]
    problem = f"The command ended with {done.exit_code}" if done.exit_code else ""
    return {**_tried(problem, console=await _console(work)), "exit_code": done.exit_code, "output": output}


def _phase_of(work: Work) -> Any:
    def told(phase: BootPhase) -> None:
        work.report.phase(phase)

    return told


def _tried(problem: str, console: str = "") -> dict[str, Any]:
    return {"problem": problem, "console": console, "took_ms": 0, "at": iso(now_utc())}


async def _console(work: Work) -> str:
    with contextlib.suppress(InsulaError):  # it only helps to understand
        return (await work.node.console_log(instance_id(work), _CONSOLE_BYTES)).decode(errors="replace")
    return ""


def drill(work: Work) -> Drill:
    """What came of it."""
    facts = {**work.facts["tried"], "command": str(work.params.get("command") or "")}
    made = msgspec.convert({"passed": not facts["problem"], **facts}, Drill)
    return replace(made, took_ms=made.took_ms + int(work.facts["restored_ms"]))


async def note(work: Work) -> None:
    with contextlib.suppress(NotFound):  # the store has lost it, which is what the drill says
        await work.node.note_drill(store_id(work), work.target_backup.id, drill(work))


def succeeded(work: Work) -> Ending:
    made = drill(work)
    drills = (*work.target_backup.drills, made)[-KEPT_DRILLS:]
    return Ending({"drills": drills}, result=msgspec.to_builtins(made))


def failed(work: Work, failure: Failure) -> Ending:
    # The result was learned already if only noting it in the store failed.
    return succeeded(work) if failure.step == _NOTE else Ending()


_NOTE = "note"

DRILL_BACKUP = Table(
    Verb.DRILL_BACKUP,
    (
        Step("restore", restore, remove, deadline_s=DEADLINE_S),
        Step("boot", try_it, no_undo="Its machine goes with what was restored.", deadline_s=_TRY_DEADLINE_S),
        Step("remove", remove, no_undo="The drill is over; nobody needs it.", deadline_s=600),
        Step(_NOTE, note, no_undo="What was learned stays true.", deadline_s=600, final=True),
    ),
    succeeded,
    failed,
)
