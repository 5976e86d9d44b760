"""What cloud-init's own detection concludes from what a machine says of itself."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from insula.node.agent.metadata_shapes import akamai, digitalocean, ec2
from insula.node.hypervisor.driver import Plate
from insula.protocol.node import InstanceSpec
from tests.cloud_init.release import Release, show
from tests.unit.node.agent.metadata_shapes.example import SPEC

pytestmark = pytest.mark.thorough


def _found(release: Release, root: Path) -> str:
    """The sources that it writes down for cloud-init, empty when it finds none."""
    programs = root / "programs"
    programs.mkdir()
    for name, does in (("blkid", "exit 0"), ("systemd-detect-virt", "echo kvm")):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    subprocess.run(
        ["sh", str(release.identify), "--force"],
        env={"PATH": f"{programs}:/usr/bin:/bin", "PATH_ROOT": str(root), "DI_LOG": str(root / "log")},
        stdin=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )
    written = root / "run/cloud-init/cloud.cfg"
    lines = written.read_text().splitlines() if written.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("datasource_list:")), "")


@pytest.mark.parametrize(
    ("source", "plate"),
    [("DigitalOcean", digitalocean.plate), ("Akamai", akamai.plate), ("Ec2", ec2.plate)],
)
def test_each_platform_is_found(
    release: Release, tmp_path: Path, source: str, plate: Callable[[InstanceSpec], Plate]
) -> None:
    if not release.has(source):
        pytest.skip(f"the distribution's cloud-init does not know {source} yet")
    show(plate(SPEC), tmp_path)
    assert _found(release, tmp_path) == f"[ {source}, None ]"


def test_a_machine_that_says_nothing_is_on_none_of_them(release: Release, tmp_path: Path) -> None:
    show(None, tmp_path)
    assert _found(release, tmp_path) == ""
