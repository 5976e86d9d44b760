"""What a hostile machine could reach: a probe in QEMU's place, in the very jail that the driver builds."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.run import run
from insula.domain.instance import Firmware, MachineType, Resources
from insula.node.hypervisor.driver import DirectBoot, MachineSpec
from insula.node.hypervisor.qemu.argv import Host
from insula.node.hypervisor.qemu.driver import QemuDriver
from insula.node.hypervisor.qemu.files import jail_for, prepare_folder
from insula.node.runtime.jail import confined
from insula.node.runtime.seccomp import program_file
from insula.node.runtime.uids import UidRange
from tests.small_guest import small_guest

_PROBE = Path(__file__).with_name("jail_probe.py")
_SYS_ADD_KEY = 248
_SESSION_KEYRING = -3


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="insula-test-", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def _spec(home: Path, name: str, uid: int | None = None) -> MachineSpec:
    folder = home / name
    folder.mkdir(mode=0o711, exist_ok=True)
    disk = folder / "disk.qcow2"
    if not disk.exists():
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True, timeout=30)
    resources = Resources(vcpus=1, memory_mib=128, disk_gib=1, cpu_percent=100)
    return MachineSpec(
        f"ins_{name}_{os.getpid()}", name, folder, resources, MachineType.Q35, Firmware.BIOS, disk, uid=uid
    )


def _scratch_world(home: Path, own: MachineSpec, stack: ExitStack) -> Mapping[str, str]:
    """Things of the service and of another instance, which exist and work for those who may."""
    other = _spec(home, "other")
    database = home / "insula.sqlite"
    database.write_bytes(b"x")
    record = own.folder / "spec.json"
    record.write_text("{}")
    abstract = f"insula-probe-{os.getpid()}"
    unix_addresses = [str(other.folder / "qmp.sock"), str(home / "insula.sock"), "\0" + abstract]
    for address in unix_addresses:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(address)
        listener.listen(1)
    port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    victim = stack.enter_context(subprocess.Popen(["sleep", "600"]))
    stack.callback(victim.kill)
    key = ctypes.CDLL(None).syscall(_SYS_ADD_KEY, b"user", f"probe-{os.getpid()}".encode(), b"x", 1, _SESSION_KEYRING)
    block = next((Path("/dev") / disk.name for disk in Path("/sys/block").iterdir()), Path("/dev/vda"))
    cgroup = next((place for place in Path("/sys/fs/cgroup").rglob("cgroup.procs")), Path("/sys/fs/cgroup/none"))
    return {
        "other_disk": str(other.disk),
        "other_qmp": unix_addresses[0],
        "database": str(database),
        "service_socket": unix_addresses[1],
        "own_record": str(record),
        "own_folder": str(own.folder),
        "victim_pid": str(victim.pid),
        "abstract": abstract,
        "port": str(port.getsockname()[1]),
        "block_device": str(block),
        "key": str(key),
        "cgroup_procs": str(cgroup),
    }


@pytest.mark.vm
@pytest.mark.root
async def test_everything_is_denied_in_the_jail_that_is_possible_outside(home: Path) -> None:
    uids = UidRange()
    (home / "own").mkdir(mode=0o711)
    own = _spec(home, "own", uids.claim(home / "own") if uids.is_usable() else None)
    probe = home / "probe.py"
    shutil.copyfile(_PROBE, probe)
    probe.chmod(0o644)
    try:
        prepare_folder(own)
        with ExitStack() as stack:
            targets = json.dumps(_scratch_world(home, own, stack))
            jail = jail_for(own, Host("tcg"), gate=None)
            seccomp = program_file()
            stack.callback(os.close, seccomp)
            argv = confined(
                ["python3", "-I", str(probe), targets],
                replace(jail, read_only=(*jail.read_only, probe), seccomp=seccomp),
            )
            jailed = json.loads((await run(argv, timeout_s=60, pass_fds=[seccomp])).stdout)
            free = json.loads((await run(["python3", "-I", str(probe), targets], timeout_s=60)).stdout)
    finally:
        uids.release(own.folder)
    width = max(map(len, jailed))
    lines = [f"{'access':{width}} | {'jailed':30} | free"]
    lines += [f"{name:{width}} | {why or 'SUCCEEDED':30} | {free[name] or 'succeeded'}" for name, why in jailed.items()]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert {name for name, why in jailed.items() if not why} == set()
    assert len(jailed) >= 12
    assert sum(not why for why in free.values()) >= 10


@pytest.mark.vm
async def test_qemu_itself_has_the_seccomp_filter_no_capabilities_and_no_other_view(home: Path) -> None:
    uids = UidRange()
    (home / "own").mkdir(mode=0o711)
    spec = _spec(home, "own", uids.claim(home / "own") if uids.is_usable() else None)
    guest = small_guest()
    boot = DirectBoot(guest.kernel, guest.initrd, guest.command_line)
    machine = await QemuDriver(home, accelerator="tcg").start(replace(spec, direct_boot=boot))
    try:
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{machine.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        namespaces = {
            name: tuple(Path(f"/proc/{who}/ns/{name}").readlink() for who in (machine.pid, "self"))
            for name in ("user", "pid", "ipc", "uts", "cgroup", "net", "mnt")
        }
    finally:
        await machine.kill()
        if spec.uid is not None:
            uids.release(spec.folder)
    assert status["Seccomp"].strip() == "2"
    assert status["NoNewPrivs"].strip() == "1"
    assert {status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    if spec.uid is not None:
        assert set(status["Uid"].split()) == {str(spec.uid)}
        assert status["Groups"].split() == []
    assert [name for name, (its, ours) in namespaces.items() if its == ours] == []
