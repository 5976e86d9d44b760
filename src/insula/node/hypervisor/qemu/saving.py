"""Writing a machine's memory and devices to a file, and waiting until a new machine has read them.

QEMU calls both migration; the other side is a file here. It gets an open descriptor, so that the jail needs no path and
the machine's user no rights. Source: QEMU QMP Reference (migrate, query-migrate, getfd), docs/devel/migration.rst.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

from insula.base.errors import DiskFull, HostFailure, InsulaError
from insula.node.hypervisor.qemu.qmp import Qmp

_FILE = "saved"
UNLIMITED_BYTES_A_SECOND = 1 << 40
WITHOUT_MEMORY = {"capability": "x-ignore-shared", "state": True}
STOPS_BEFORE_THE_END = {"capability": "pause-before-switchover", "state": True}
_POLL_S = 0.01
_LEAST_S = 60.0
_SLOWEST_BYTES_A_SECOND = 20_000_000
_UNDER_WAY = frozenset({"setup", "active", "device", "cancelling", "pre-switchover", "wait-unplug"})


async def save(qmp: Qmp, target: Path) -> None:
    """See CanSave.save. The machine stands still."""
    await end_earlier(qmp)
    size_bytes = (await qmp.run("query-memory-size-summary"))["base-memory"]
    _check_space(target, size_bytes)
    draft = target.with_name(f".{target.name}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        is_shared = any(backend["share"] for backend in await qmp.run("query-memdev"))
        capabilities = [WITHOUT_MEMORY | {"state": is_shared}, STOPS_BEFORE_THE_END | {"state": False}]
        await qmp.run("migrate-set-capabilities", {"capabilities": capabilities})
        await qmp.run("migrate-set-parameters", {"max-bandwidth": UNLIMITED_BYTES_A_SECOND})
        await qmp.give(_FILE, descriptor)
        await qmp.run("migrate", {"uri": f"fd:{_FILE}"})
        await _await_written(qmp, target, _LEAST_S + size_bytes / _SLOWEST_BYTES_A_SECOND)
        await asyncio.to_thread(os.fsync, descriptor)
        draft.replace(target)
    except BaseException:
        with contextlib.suppress(InsulaError):
            await asyncio.shield(qmp.run("migrate_cancel"))
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


async def load_devices(qmp: Qmp, source: Path) -> None:
    """Let a machine that waits with sealed memory read its devices, up to its standing still.

    Raises :class:`Unavailable` when QEMU ends over it.
    """
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        await qmp.run("migrate-set-capabilities", {"capabilities": [WITHOUT_MEMORY]})
        await qmp.give(_FILE, descriptor)
        await qmp.run("migrate-incoming", {"uri": f"fd:{_FILE}"})
    finally:
        os.close(descriptor)


async def loaded(qmp: Qmp) -> str:
    """The machine's run state as soon as it reads no saved memory (any more).

    Raises :class:`Unavailable` when QEMU ends over it.
    """
    while True:
        state = str((await qmp.run("query-status", timeout_s=_LEAST_S))["status"])
        if state != "inmigrate":
            return state
        await asyncio.sleep(_POLL_S)


async def end_earlier(qmp: Qmp) -> None:
    """What a service before us began: it is cancelled, or undone when it came to its end."""
    await cancel(qmp)
    if (await qmp.run("query-status"))["status"] == "postmigrate":
        # Its disks are let go of in this state; only a machine that was told to go on can be saved again.
        await qmp.run("cont")
        await qmp.run("stop")


async def cancel(qmp: Qmp) -> None:
    """End what is under way. A machine that stood still only for its end goes on."""
    while (await _status(qmp)).get("status") in _UNDER_WAY:
        await qmp.run("migrate_cancel")
        await asyncio.sleep(_POLL_S)


async def _await_written(qmp: Qmp, target: Path, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while (report := await _status(qmp)).get("status") in _UNDER_WAY:  # noqa: ASYNC110 - QEMU is asked
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise HostFailure(
            f"The memory was not written to {target} in time",
            why=f"It had {timeout_s:g} s",
            todo="Look at the host's load and disk with `insula doctor`, and try again",
            code="save-timeout",
        ) from error
    if report.get("status") != "completed":
        _check_space(target, 1)
        raise HostFailure(
            f"The memory could not be written to {target}",
            why=f"QEMU says: {report.get('error-desc') or report.get('status')}",
            todo="Look at its qemu.log and the host's disk, and try again",
            code="save-failed",
        )


async def _status(qmp: Qmp) -> dict[str, Any]:
    return dict(await qmp.run("query-migrate"))


def _check_space(target: Path, wanted_bytes: int) -> None:
    disk = os.statvfs(target.parent)
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < wanted_bytes + (64 << 20):
        raise DiskFull(
            f"There is no room to save the memory at {target}",
            why=f"Up to {wanted_bytes >> 20} MiB are needed and {free_bytes >> 20} MiB are free",
            todo="Free space on the disk that holds Insula's folder",
        )
