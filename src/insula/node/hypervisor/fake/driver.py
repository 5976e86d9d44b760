"""The fake driver: machines without processes, for everything above the hypervisor to be tested in milliseconds.

It keeps the real driver's promises: a machine outlives the driver object (its state is in its folder), is adopted
again with the same start time, ends for a reason, and its guest speaks the real agent protocol.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from insula.base.errors import Conflict, HostFailure
from insula.domain.instance import Firmware
from insula.node.hypervisor.driver import EndReason, MachineSpec, MachineStatus
from insula.node.hypervisor.fake.machine import FakeMachine
from insula.node.hypervisor.fake.state import (
    FakeState,
    disk_identity,
    frozen_files,
    held_volume,
    load,
    save,
    tree_for,
)

_FIRST_PID = 1 << 30  # beyond any kernel's pid_max, so that nobody ever signals a real process by mistake


@dataclass(frozen=True)
class Faults:
    """What shall go wrong with machines that start from now on."""

    fail_start: str = ""  # the reason given by the failing start
    never_ready: bool = False  # the boot stands still before the network, the agent never answers
    ignores_power_button: bool = False
    crash_after_s: float = 0.0  # 0: never
    broken_program: str = ""  # the name of a program that fails in the guest


class FakeDriver:
    """Implements Driver. `faults` may be replaced between starts, or be a function of the machine that starts."""

    name = "fake"

    def __init__(self, *, boot_s: float = 0.0, faults: Faults | Callable[[MachineSpec], Faults] | None = None) -> None:
        self._boot_s = boot_s
        self.faults: Faults | Callable[[MachineSpec], Faults] = faults if faults is not None else Faults()

    async def accelerator(self) -> str:
        return "none"

    async def fingerprint(self) -> str:
        return "fake"

    async def start(self, spec: MachineSpec) -> FakeMachine:
        """See Driver.start."""
        faults = self.faults(spec) if callable(self.faults) else self.faults
        known = await asyncio.to_thread(load, spec.folder)
        if known is not None and known.status is not MachineStatus.ENDED:
            raise Conflict(
                f"The machine of {spec.name} runs already",
                why=f"It was started before and has not ended (process {known.pid})",
                todo="Stop it first, or adopt it",
                code="already-running",
            )
        if faults.fail_start:
            raise HostFailure(
                f"The machine of {spec.name} did not start",
                why=faults.fail_start,
                todo="Try again",
                code="start-failed",
            )
        now_s = time.time()
        state = FakeState(
            spec_id=spec.id,
            name=spec.name,
            mac=spec.nic.mac if spec.nic else "",
            files=tree_for(spec.folder, spec.disk, next(iter(spec.read_only), None)),
            disk=disk_identity(spec.disk),
            pid=_FIRST_PID + secrets.randbelow(1 << 29),
            started_at_s=now_s,
            booted_at_s=now_s,
            boot_s=self._boot_s,
            never_ready=faults.never_ready,
            ignores_power_button=faults.ignores_power_button,
            broken_program=faults.broken_program,
            task=task_of(spec.direct_boot.command_line) if spec.direct_boot else "",
            volumes={volume.id: held_volume(volume) for volume in spec.volumes},
            crash_at_s=now_s + faults.crash_after_s if faults.crash_after_s else 0.0,
        )
        if spec.saved is not None:
            state = await asyncio.to_thread(_gone_on, state, spec.saved)
            await asyncio.to_thread(_take_files, spec.saved, spec.folder / state.files)
        if spec.firmware is Firmware.UEFI and not (nvram := spec.folder / "nvram.qcow2").exists():
            nvram.write_text(f"variables of {spec.id}\n")
        console = spec.folder / "console.log"
        if console.exists():
            console.replace(spec.folder / "console.log.previous")
        console.touch(mode=0o600)
        save(spec.folder, state)  # in a thread it would go on when this is cancelled
        return await self._serve(spec.folder, state)

    async def adopt(self, spec_id: str, folder: Path) -> FakeMachine | None:
        """See Driver.adopt."""
        state = await asyncio.to_thread(load, folder)
        if state is None or state.spec_id != spec_id or state.status is MachineStatus.ENDED:
            return None
        return await self._serve(folder, state)

    async def last_end(self, folder: Path) -> EndReason | None:
        """See Driver.last_end."""
        state = await asyncio.to_thread(load, folder)
        return state.end_reason if state is not None else None

    async def _serve(self, folder: Path, state: FakeState) -> FakeMachine:
        machine = FakeMachine(folder, state)
        try:
            await machine.serve()
        except BaseException:
            await machine.kill()
            raise
        return machine


def task_of(command_line: str) -> str:
    """What a kernel is told to do instead of booting the guest; empty for nothing."""
    words = [word.removeprefix("insula.task=") for word in command_line.split() if word.startswith("insula.task=")]
    return words[-1] if words else ""


def _gone_on(state: FakeState, saved: Path) -> FakeState:
    """The machine as it was saved, standing still."""
    try:
        found = json.loads(saved.read_bytes())
        lines_written, link_up = int(found["lines_written"]), bool(found["link_up"])
        _check_volumes(state, found["volumes"])
    except (ValueError, KeyError, TypeError) as error:
        raise HostFailure(
            f"The machine of {state.name} did not start",
            why=f"Its saved memory cannot be read: {error}",
            todo="Boot it from its disk",
            code="saved-memory-unusable",
        ) from error
    booted_at_s = state.started_at_s - state.boot_s
    status = MachineStatus.PAUSED
    return replace(state, status=status, booted_at_s=booted_at_s, lines_written=lines_written, link_up=link_up)


def _check_volumes(state: FakeState, saved: Mapping[str, Any]) -> None:
    if saved != state.volumes:
        raise ValueError("it had other volumes")


def _take_files(saved: Path, target: Path) -> None:
    """A forked guest finds on its disk what the other one had there at that instant."""
    if frozen_files(saved).is_dir():
        shutil.copytree(frozen_files(saved), target, dirs_exist_ok=True)
