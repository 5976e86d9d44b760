"""What QEMU merged must be on the disk before anybody relies on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from insula.node.hypervisor.driver import CanFork
from tests.conformance.rigs import QemuRig, Rig

# Each in a part of the disk that has a table of its own in qcow2, of which QEMU writes the last one late.
_WRITTEN_MIB = (1, 600, 900)


def write(disk: Path, *mib: int) -> None:
    commands = [word for each in mib for word in ("-c", f"write -q -P 7 {each}M 64k")]
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, disk], check=True, timeout=30)


def reads(disk: Path, mib: int) -> str:
    command = ["qemu-io", "-r", "-f", "qcow2", "-c", f"read -q -P 7 {mib}M 64k", str(disk)]
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    return said.stdout


@pytest.mark.parametrize("rig", [pytest.param("qemu", marks=pytest.mark.vm)], indirect=True)
async def test_what_was_merged_outlives_a_machine_that_is_killed(rig: Rig) -> None:
    assert isinstance(rig, QemuRig)
    spec = rig.spec("web1")
    image, between = spec.folder.parent / "base-image", spec.folder.parent / "base-one"
    spec.disk.rename(image)
    rig.layer(image, between)
    write(between, *_WRITTEN_MIB)
    rig.layer(between, spec.disk)
    for each in (image, between):
        each.chmod(0o644)
    machine = await rig.driver().start(replace(spec, read_only=(image, between)))
    try:
        await rig.booted(spec)
        assert isinstance(machine, CanFork)
        await machine.merge_layers(image)
    finally:
        os.kill(machine.pid, signal.SIGKILL)
        await machine.kill()
    between.unlink()
    said = subprocess.run(
        ["qemu-img", "info", "-f", "qcow2", "--output=json", spec.disk],
        check=True,
        capture_output=True,
        timeout=30,
    )
    assert json.loads(said.stdout)["backing-filename"] == str(image)
    assert [reads(spec.disk, each) for each in _WRITTEN_MIB] == ["", "", ""]
