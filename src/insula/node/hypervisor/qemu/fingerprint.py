"""What QEMU's saved devices depend on, apart from its arguments."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

from insula.base.errors import Unsupported
from insula.base.run import run
from insula.node.hypervisor.qemu.argv import PROGRAM
from insula.node.hypervisor.qemu.firmware import data_folders, find_uefi

_CPU_FACTS = re.compile(r"^(model name|stepping|microcode|flags)\s*:(.*)$", re.MULTILINE)
_FIRMWARE = "bios-256k.bin"
_TIMEOUT_S = 20.0


async def qemu_fingerprint(accelerator: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """QEMU's version with its package's, the firmware there is, and under KVM the processor, which guests see."""
    version = (await run([PROGRAM, "-version"], timeout_s=_TIMEOUT_S)).text.partition("\n")[0].strip()
    cpu = await asyncio.to_thread(processor, cpuinfo) if accelerator == "kvm" else "emulated"
    return "; ".join((version, await asyncio.to_thread(_firmware), cpu))


def _firmware() -> str:
    files = [folder / _FIRMWARE for folder in data_folders()]
    with contextlib.suppress(Unsupported):
        files.append(find_uefi().code)
    facts = (file.stat() for file in files if file.is_file())
    return ", ".join(f"{fact.st_size} {fact.st_mtime_ns}" for fact in facts)


def processor(cpuinfo: Path) -> str:
    """What guests see of the first processor; all of a host are alike."""
    first = cpuinfo.read_text().partition("\n\n")[0]
    return ", ".join(value.strip() for _, value in _CPU_FACTS.findall(first))
