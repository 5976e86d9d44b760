"""Whether machines use KVM on this host: asked often, proved once for each host kernel, QEMU and CPU.

A /dev/kvm that opens proves nothing: there are hosts where it does, where QEMU says that KVM is enabled, and where a
stock kernel crawls or hangs. So it is proved by running guests, and the verdict kept in a file.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

from insula.base.files import write_atomic
from insula.base.log import get_logger
from insula.base.run import find_program
from insula.node.hypervisor.kvm import probe
from insula.node.hypervisor.kvm.host import HostFacts, read_facts
from insula.node.hypervisor.kvm.verdict import Boot, Case, Payload, Verdict, after_boot, after_payload, without_device
from insula.node.hypervisor.qemu.argv import PROGRAM

_log = get_logger(__name__)


class KvmProof:
    """Proves KVM when first asked. `file` keeps the verdict; the experiments can be replaced by tests."""

    def __init__(
        self,
        file: Path,
        *,
        needs_group: bool,
        run_payload: Callable[[], Awaitable[Payload | None]] = probe.run_payload,
        boot_kernel: Callable[[Path], Awaitable[Boot]] = probe.boot_kernel,
    ) -> None:
        self._file = file
        self._needs_group = needs_group
        self._run_payload = run_payload
        self._boot_kernel = boot_kernel
        self._one_at_a_time = asyncio.Lock()

    async def verdict(self, kernel: Path | None = None) -> Verdict:
        """What holds on this host; `kernel` is one to boot, by default the host's own. May be repeated.

        Raises :class:`CommandMissing` when QEMU is not installed.
        """
        facts = await asyncio.to_thread(read_facts, Path(find_program(PROGRAM)), needs_group=self._needs_group)
        early = without_device(facts)
        if early is not None:
            return early  # looked at each time: a mended device counts at once
        async with self._one_at_a_time:
            known = await asyncio.to_thread(_load, self._file, facts.key)
            if known is not None:
                return known
            verdict = await self._prove(facts, kernel or await asyncio.to_thread(probe.host_kernel))
            _log.info("KVM proved", case=verdict.case, usable=verdict.is_usable, explanation=verdict.explanation)
            if verdict.is_final:
                await asyncio.to_thread(_save, self._file, facts.key, verdict)
            return verdict

    async def _prove(self, facts: HostFacts, kernel: Path | None) -> Verdict:
        failed = after_payload(facts, await self._run_payload())
        if failed is not None:
            return failed
        return after_boot(facts, await self._boot_kernel(kernel) if kernel is not None else None)


def _load(file: Path, key: str) -> Verdict | None:
    try:
        data = json.loads(file.read_bytes())
        if data.pop("key") != key:
            return None
        return Verdict(**data | {"case": Case(data["case"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _save(file: Path, key: str, verdict: Verdict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps({"key": key, **asdict(verdict)}).encode(), mode=0o644)
