"""The processor's part of what saved devices depend on."""

from __future__ import annotations

from pathlib import Path

from insula.node.hypervisor.qemu.fingerprint import processor

_CPUINFO = """processor\t: 0
model name\t: Fast CPU
stepping\t: 3
cpu MHz\t\t: {mhz}
flags\t\t: fpu {flag}

processor\t: 1
model name\t: Other CPU
"""


def test_it_changes_with_what_guests_see_and_not_with_the_clock(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"

    def of(mhz: str, flag: str) -> str:
        cpuinfo.write_text(_CPUINFO.format(mhz=mhz, flag=flag))
        return processor(cpuinfo)

    assert "Fast CPU" in of("1000", "vme")
    assert of("1000", "vme") == of("3000", "vme")
    assert of("1000", "vme") != of("1000", "avx512")
