from __future__ import annotations

import os
from pathlib import Path

import pytest

from insula.base.errors import HostFailure
from insula.node.runtime.jail import Gate, Jail, confined, require_reachable


def _pairs(argv: list[str], option: str) -> list[str]:
    return [argv[place + 1] for place, word in enumerate(argv) if word == option]


def test_the_world_is_empty_but_for_what_is_named(tmp_path: Path) -> None:
    backing = Path("/srv/image.qcow2")
    argv = confined(["/usr/bin/qemu-img", "info"], Jail(read_write=(tmp_path,), read_only=(backing,), folder=tmp_path))
    for namespace in ("user", "pid", "ipc", "uts", "cgroup", "net"):
        assert f"--unshare-{namespace}" in argv
    assert _pairs(argv, "--cap-drop") == ["ALL"]
    assert _pairs(argv, "--bind") == [str(tmp_path)]
    assert str(backing) in _pairs(argv, "--ro-bind")
    assert not {"/", "/usr", "/etc", "/usr/bin", "/home", "/root", "/run", "/sys"} & set(_pairs(argv, "--ro-bind"))
    assert "--die-with-parent" not in argv
    assert argv[argv.index("--", argv.index("--cap-drop")) :] == ["--", "/usr/bin/qemu-img", "info"]


def test_devices_are_the_harmless_ones_and_the_named(tmp_path: Path) -> None:
    plain = {"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"}
    assert set(_pairs(confined(["/bin/true"], Jail()), "--dev-bind")) == plain
    named = Jail(devices=(Path("/dev/kvm"),))
    assert set(_pairs(confined(["/bin/true"], named), "--dev-bind")) == plain | {"/dev/kvm"}


def test_an_own_user_loses_everything_before_the_jail_is_built(tmp_path: Path) -> None:
    argv = confined(["/bin/true"], Jail(uid=1_900_000_001, groups=(104,)))
    assert argv[0].endswith("/setpriv")
    before = argv[: argv.index("--")]
    assert {"--reuid=1900000001", "--regid=1900000001", "--groups=104", "--no-new-privs", "--bounding-set=-all"} <= set(
        before
    )
    assert "--clear-groups" in confined(["/bin/true"], Jail(uid=1_900_000_001))


def test_real_root_gets_no_proc_since_it_owns_writable_files_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "--proc" not in confined(["/bin/true"], Jail())
    assert "--proc" in confined(["/bin/true"], Jail(uid=1_900_000_001))


def test_a_file_inside_a_folder_is_laid_over_it(tmp_path: Path) -> None:
    disk = tmp_path / "a" / "seed.iso"
    argv = confined(["/bin/true"], Jail(read_write=(tmp_path / "a",), read_only=(disk,)))
    assert argv.index(str(tmp_path / "a")) < argv.index(str(disk))


def test_the_gate_holds_the_program_back() -> None:
    argv = confined(["/bin/true"], Jail(gate=Gate(report=7, go=8)))
    assert (_pairs(argv, "--info-fd"), _pairs(argv, "--block-fd")) == (["7"], ["8"])


def test_a_closed_folder_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    uid = 1_900_000_001
    outermost_closed = next(f for f in (*reversed(tmp_path.parents), tmp_path, closed) if not f.stat().st_mode & 0o001)
    with pytest.raises(HostFailure, match=f"The folder {outermost_closed} is closed"):
        require_reachable(closed / "disk.qcow2", uid)
    require_reachable(Path("/usr/lib/os-release"), uid)
