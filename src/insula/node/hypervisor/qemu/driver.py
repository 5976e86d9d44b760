"""The qemu driver: starts QEMU confined and detached, and finds it again after the service was away."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from insula.base.errors import InsulaError, Unavailable
from insula.base.log import get_logger
from insula.domain.instance import Firmware
from insula.node.hypervisor.driver import EndReason, MachineSpec
from insula.node.hypervisor.kvm.host import tsc_khz
from insula.node.hypervisor.kvm.proof import KvmProof
from insula.node.hypervisor.kvm.verdict import Verdict
from insula.node.hypervisor.qemu import files
from insula.node.hypervisor.qemu.argv import UUID_PREFIX_CHARS, Host, machine_uuid
from insula.node.hypervisor.qemu.failures import start_failure
from insula.node.hypervisor.qemu.fingerprint import qemu_fingerprint
from insula.node.hypervisor.qemu.firmware import find_uefi
from insula.node.hypervisor.qemu.launch import end, end_strays, is_locked, launch, locked, wait_unlocked
from insula.node.hypervisor.qemu.limits import machine_limits
from insula.node.hypervisor.qemu.machine import QemuMachine
from insula.node.hypervisor.qemu.qmp import Qmp
from insula.node.hypervisor.qemu.record import Record, load, save, unseen_end
from insula.node.hypervisor.qemu.saving import load_devices, loaded
from insula.node.runtime import cgroups
from insula.node.runtime.cgroups import Cgroup, remove_emptied
from insula.node.runtime.processes import Process, is_alive, started_at_s
from insula.node.runtime.uids import UidRange

_GREETING_TIMEOUT_S = 60.0
_ADOPT_TIMEOUT_S = 10.0
_ADOPT_POLL_S = 0.05
_KILL_TIMEOUT_S = 10.0

_log = get_logger(__name__)


class QemuDriver:
    """Implements Driver. `home` tells several services on one host apart; `accelerator` is auto, kvm or tcg."""

    name = "qemu"

    def __init__(self, home: Path, accelerator: str = "auto") -> None:
        self._cgroups = cgroups.detect(hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:8])
        self._wanted_accelerator = accelerator
        self._fingerprint = ""
        self._fingerprinting = asyncio.Lock()
        self._proof = KvmProof(home / "node" / "kvm-proof.json", needs_group=UidRange.is_usable())

    @property
    def cgroups(self) -> cgroups.Cgroups:
        """Where its machines' limits are; `leftovers` compares their names with the records."""
        return self._cgroups

    async def accelerator(self) -> str:
        """See Driver.accelerator."""
        return await self._accelerator(None)

    async def fingerprint(self) -> str:
        """See Driver.fingerprint. QEMU is asked for its version once."""
        async with self._fingerprinting:
            if not self._fingerprint:
                self._fingerprint = await qemu_fingerprint(await self.accelerator())
        return self._fingerprint

    async def kvm_verdict(self) -> Verdict:
        """What the proof of KVM says on this host, for the doctor. May take seconds the first time."""
        return await self._proof.verdict()

    async def _accelerator(self, kernel: Path | None) -> str:
        if self._wanted_accelerator != "auto":
            return self._wanted_accelerator
        return (await self._proof.verdict(kernel)).accelerator

    async def start(self, spec: MachineSpec) -> QemuMachine:
        """See Driver.start."""
        kernel = spec.direct_boot.kernel if spec.direct_boot else None
        uefi = find_uefi() if spec.firmware is Firmware.UEFI else None
        host = Host(await self._accelerator(kernel), uefi, await asyncio.to_thread(tsc_khz))
        cgroup = self._cgroups.open(spec.id)
        with locked(spec) as lock:
            try:
                if host.uefi is not None:
                    await files.make_nvram(spec, host.uefi)
                await asyncio.to_thread(files.prepare_folder, spec)
                cgroup.apply(machine_limits(spec.resources))
                process, record = await launch(spec, host, cgroup, lock)
                try:
                    qmp = await self._first_contact(spec)
                except BaseException:
                    await asyncio.shield(end(process))
                    raise
            except BaseException:
                await asyncio.shield(_clean_up(spec.folder, cgroup))
                raise
        _log.info("machine started", instance_id=spec.id, pid=record.pid, accelerator=host.accelerator)
        return QemuMachine(spec.folder, record, process, qmp, cgroup)

    async def _first_contact(self, spec: MachineSpec) -> Qmp:
        """QEMU greets once its machine is complete and its virtual CPUs run, or its saved memory is loaded."""
        try:
            qmp = await Qmp.open(spec.name, spec.folder / files.QMP_SOCKET, _GREETING_TIMEOUT_S)
        except (OSError, Unavailable) as error:
            what = "it ended at once" if getattr(error, "code", "") != "qmp-busy" else "it does not answer"
            raise await asyncio.to_thread(start_failure, spec.folder, spec.name, what) from error
        try:
            if spec.saved is not None and spec.memory is not None:
                await load_devices(qmp, spec.saved)
            state = await loaded(qmp)
        except Unavailable as error:
            await qmp.close()
            raise await asyncio.to_thread(start_failure, spec.folder, spec.name, "it ended at once") from error
        except BaseException:
            await qmp.close()
            raise
        if state != ("running" if spec.saved is None else "paused"):
            await qmp.close()
            raise await asyncio.to_thread(start_failure, spec.folder, spec.name, f"its state is {state}")
        return qmp

    async def adopt(self, spec_id: str, folder: Path) -> QemuMachine | None:
        """See Driver.adopt. Raises :class:`Unavailable` when another client has hold of the machine."""
        try:
            async with asyncio.timeout(_ADOPT_TIMEOUT_S):
                while await asyncio.to_thread(is_locked, folder):
                    found = await self._take_over(spec_id, folder)
                    if found is not None:
                        return found
                    await asyncio.sleep(_ADOPT_POLL_S)
        except TimeoutError:
            # The lock is held and nobody listens: a start that its service did not live to finish.
            _log.warning("ending a machine that never came up", instance_id=spec_id)
            await asyncio.to_thread(end_strays, spec_id)
            await wait_unlocked(folder)  # or the start that follows would take them for a running machine
        return None

    async def _take_over(self, spec_id: str, folder: Path) -> QemuMachine | None:
        record = await asyncio.to_thread(load, folder)
        if record is not None and record.spec_id != spec_id:
            return None
        try:
            qmp = await Qmp.open(spec_id, folder / files.QMP_SOCKET, _ADOPT_TIMEOUT_S / 2)
        except OSError:
            return None  # not listening yet, or no longer
        except Unavailable:
            if record is not None and is_alive(record.pid, record.start_ticks):
                raise
            return None  # its jail listens for it, but its service died before it was let through the gate
        process = Process.hold(qmp.peer_pid)
        if process is None or not await _is_machine_of(qmp, spec_id):
            await qmp.close()
            return None
        await loaded(qmp)
        if record is None or (record.pid, record.start_ticks) != (process.pid, process.start_ticks):
            record = Record(spec_id, process.pid, process.start_ticks, started_at_s(process.start_ticks))
            await asyncio.to_thread(save, folder, record)
        cgroup = self._cgroups.open(spec_id)
        cgroup.add(process.pid)
        _log.info("machine adopted", instance_id=spec_id, pid=process.pid)
        return QemuMachine(folder, record, process, qmp, cgroup)

    async def last_end(self, folder: Path) -> EndReason | None:
        """See Driver.last_end."""
        record = await asyncio.to_thread(load, folder)
        return await asyncio.to_thread(unseen_end, folder, record) if record is not None else None


async def _is_machine_of(qmp: Qmp, spec_id: str) -> bool:
    try:
        found = str((await qmp.run("query-uuid"))["UUID"])
    except InsulaError:
        return False
    # What its plate says may begin otherwise.
    return found[UUID_PREFIX_CHARS:] == machine_uuid(spec_id)[UUID_PREFIX_CHARS:]


async def _clean_up(folder: Path, cgroup: Cgroup) -> None:
    """After a failed start: what remains is the folder as it was, with the log that tells why."""
    for name in ("machine.json", files.QMP_SOCKET, files.AGENT_SOCKET, files.CONSOLE_SOCKET):
        (folder / name).unlink(missing_ok=True)
    try:
        await remove_emptied(cgroup)
    except InsulaError as error:  # the next start uses it again, and forgetting the instance removes it
        _log.warning("a cgroup is left behind", folder=str(folder), error=str(error))
