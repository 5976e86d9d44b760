"""On a copy of the kernel's file tree: what is written where. The kernel's part is tested with real machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.base.errors import HostFailure
from insula.node.runtime.cgroups import (
    CgroupsV1,
    CgroupsV2,
    Limits,
    Mount,
    NoCgroups,
    _NoCgroup,
    cgroup_mounts,
    remove_emptied,
)

LIMITS = Limits(cpu_percent=25, cpu_weight=25, memory_bytes=1 << 28, pids=99)


def test_mounts_are_read_with_their_controllers() -> None:
    text = (
        "24 1 0:22 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
        "25 1 0:23 / /sys/fs/cgroup/cpu\\040set rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
        "26 1 0:24 / /proc rw - proc proc rw\n"
    )
    assert cgroup_mounts(text) == [
        Mount(Path("/sys/fs/cgroup/unified"), 2, frozenset()),
        Mount(Path("/sys/fs/cgroup/cpu set"), 1, frozenset({"cpu", "cpuacct"})),
    ]


def _v1_files(root: Path, name: str) -> None:
    """The kernel makes these with the folder."""
    for controller, files in {
        "cpu": ("cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.shares", "cgroup.procs"),
        "memory": ("memory.limit_in_bytes", "cgroup.procs"),
    }.items():
        folder = root / controller / "insula-x" / name
        folder.mkdir(parents=True)
        for file in files:
            (folder / file).touch()


def test_version_1_is_written_in_each_hierarchy(tmp_path: Path) -> None:
    _v1_files(tmp_path, "ins_1")
    groups = CgroupsV1({name: tmp_path / name / "insula-x" for name in ("cpu", "memory")})
    group = groups.open("ins_1")
    group.apply(LIMITS)
    group.add(4711)
    cpu = tmp_path / "cpu/insula-x/ins_1"
    assert (cpu / "cpu.cfs_quota_us").read_text() == "25000"
    assert (cpu / "cpu.cfs_period_us").read_text() == "100000"
    assert (cpu / "cpu.shares").read_text() == "256"
    assert (tmp_path / "memory/insula-x/ins_1/memory.limit_in_bytes").read_text() == str(1 << 28)
    assert group.pids() == [4711]
    assert groups.names() == ["ins_1"]
    assert set(groups.missing) == {"pids"}


def test_a_missing_kernel_file_is_an_error_and_no_new_file(tmp_path: Path) -> None:
    group = CgroupsV1({"cpu": tmp_path / "cpu"}).open("ins_1")
    with pytest.raises(HostFailure, match=r"cpu\.cfs_period_us"):
        group.apply(LIMITS)
    assert list((tmp_path / "cpu/ins_1").iterdir()) == []
    other = CgroupsV1({"cpu": tmp_path / "cpu"}).open("ins_2")
    with pytest.raises(HostFailure):
        other.apply(LIMITS)
    group.remove()
    group.remove()
    assert [path.name for path in (tmp_path / "cpu").iterdir()] == ["ins_2"]
    other.remove()
    assert not (tmp_path / "cpu").exists()


def test_version_2_shares_controllers_out_and_writes_one_folder(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory io pids")
    (tmp_path / "cgroup.subtree_control").touch()
    ours = tmp_path / "insula-x"
    folder = ours / "ins_1"
    folder.mkdir(parents=True)
    (ours / "cgroup.subtree_control").touch()
    for file in ("cpu.max", "cpu.weight", "memory.max", "pids.max", "cgroup.procs"):
        (folder / file).touch()
    (folder / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    groups = CgroupsV2(ours, delegated_root=tmp_path)
    group = groups.open("ins_1")
    group.apply(LIMITS)
    assert (folder / "cpu.max").read_text() == "25000 100000"
    assert (folder / "cpu.weight").read_text() == "25"
    assert (folder / "memory.max").read_text() == str(1 << 28)
    assert group.out_of_memory_kills() == 1
    assert groups.missing == {}


def test_a_host_without_cgroups_says_what_is_missing() -> None:
    groups = NoCgroups("this user's cgroup is not delegated")
    group = groups.open("ins_1")
    group.apply(LIMITS)
    group.add(1)
    group.remove()
    assert set(groups.missing) == {"cpu", "memory", "pids"}


class _Busy(_NoCgroup):
    """Its last process is still on its way out for so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def remove(self) -> None:
        self.looks -= 1
        if self.looks >= 0:
            raise HostFailure("it is busy")


async def test_a_cgroup_goes_when_its_last_process_has_left() -> None:
    cgroup = _Busy(3)
    await remove_emptied(cgroup)
    assert cgroup.looks == -1
    with pytest.raises(HostFailure):
        await remove_emptied(_Busy(1000))
