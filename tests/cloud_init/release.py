"""cloud-init as the distribution ships it, unpacked beside the system: installed, it would set up this host."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from insula.domain.instance import Firmware, MachineType, Resources
from insula.node.hypervisor.driver import MachineSpec, Plate
from insula.node.hypervisor.qemu.argv import Host, Wires, arguments, machine_uuid

# It, and what its sources import.
_PACKAGES = (
    "cloud-init",
    *("python3-configobj", "python3-jinja2", "python3-markupsafe", "python3-jsonpatch", "python3-json-pointer"),
    *("python3-jsonschema", "python3-attr", "python3-pyrsistent", "python3-oauthlib", "python3-requests"),
    *("python3-urllib3", "python3-chardet", "python3-idna", "python3-certifi", "python3-yaml", "python3-six"),
    *("python3-netifaces", "python3-serial", "python3-pkg-resources"),
)
# Where Linux shows what the tables say: type, field, file.
_SHOWN = {
    ("1", "manufacturer"): "sys_vendor",
    ("1", "product"): "product_name",
    ("1", "serial"): "product_serial",
    ("1", "uuid"): "product_uuid",
    ("2", "serial"): "board_serial",
}


@dataclass(frozen=True)
class Release:
    """What was unpacked to `root`."""

    root: Path

    @property
    def identify(self) -> Path:
        """The program that finds out where a guest is, before cloud-init begins."""
        return self.root / "usr/lib/cloud-init/ds-identify"

    def has(self, source: str) -> bool:
        """Whether it knows this source of data."""
        return (self._modules / "cloudinit/sources" / f"DataSource{source}.py").exists()

    @property
    def _modules(self) -> Path:
        return self.root / "usr/lib/python3/dist-packages"

    def run(self, script: str, arguments: Sequence[str]) -> dict[str, Any]:
        """Run a script that prints one JSON value, by the Python that the release is for."""
        done = subprocess.run(
            ["/usr/bin/python3", "-s", "-W", "ignore", "-c", script, *arguments],
            env={"PYTHONPATH": str(self._modules), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told: dict[str, Any] = json.loads(done.stdout)
        return told


def download(folder: Path) -> Release:
    """Fetch and unpack it; the test is skipped where there are no packages to be had."""
    got = subprocess.run(
        ["apt-get", "download", "-q", *_PACKAGES],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if got.returncode != 0:
        pytest.skip(f"needs the distribution's packages: {got.stderr.strip()[-300:]}")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder / "root"], check=True, timeout=60)
    return Release(folder / "root")


def show(plate: Plate | None, folder: Path) -> Path:
    """The folder in which Linux would show what the machine of this plate says of itself; below a root."""
    place = folder / "sys/class/dmi/id"
    place.mkdir(parents=True)
    spec = MachineSpec(
        "ins_1",
        "web1",
        folder,
        Resources(1, 512, 5, 100),
        MachineType.Q35,
        Firmware.BIOS,
        folder / "disk.qcow2",
        plate=plate,
    )
    shown: dict[str, str] = {"sys_vendor": "QEMU", "product_uuid": machine_uuid(spec.id)}
    argv = arguments(spec, Host("tcg"), Wires(qmp=5, agent=6, console=7))
    for option in (argv[index + 1] for index, word in enumerate(argv) if word == "-smbios"):
        fields = dict(part.split("=", 1) for part in option.split(","))
        shown |= _by_file(fields.pop("type"), fields)
    for name, text in shown.items():
        (place / name).write_text(f"{text}\n")
    return place


def _by_file(kind: str, fields: Mapping[str, str]) -> dict[str, str]:
    return {_SHOWN[kind, name]: text for name, text in fields.items()}
