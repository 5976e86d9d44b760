"""The promise of the README, kept the way a stranger would try it: clone, launch, log in; as root and as a user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.orphans import processes_of
from tests.ordinary_user import command_as
from tests.private_service import free_port

ROOT = Path(__file__).resolve().parents[2]
_USER = "insula-door-test"
_LAUNCH_TIMEOUT_S = 1500

pytestmark = [
    pytest.mark.vm,
    pytest.mark.root,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to make the ordinary user"),
]


@dataclass(frozen=True)
class Stranger:
    """Somebody with a fresh clone, a home of their own and nothing else."""

    clone: Path
    home: Path
    environment: Mapping[str, str]
    become: Sequence[str]

    def insula(self, *arguments: str) -> str:
        """What `./insula …` prints; fails with all of it when the command fails."""
        done = subprocess.run(
            [*self.become, "./insula", *arguments],
            cwd=self.clone,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LAUNCH_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"insula {' '.join(arguments)}:\n{done.stdout}"
        return done.stdout


def _stranger(folder: Path, account: pwd.struct_passwd) -> Stranger:
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    home = folder / "state"
    as_root = account.pw_uid == 0
    become = [] if as_root else command_as(account.pw_uid, account.pw_gid, "--init-groups")
    if not as_root:
        subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", str(folder)], check=True)
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("INSULA_", "XDG_", "UV_"))}
    own = {"HOME": str(folder), "USER": account.pw_name, "INSULA_HOME": str(home), "INSULA_TEMPLATES": "asked"}
    own |= {"INSULA_LISTEN": f"127.0.0.1:{free_port()}", "INSULA_LISTEN_TLS": "off"}
    return Stranger(clone, home, keep | own, become)


@pytest.fixture(params=["root", "user"])
def stranger(request: pytest.FixtureRequest) -> Iterator[Stranger]:
    folder = Path(tempfile.mkdtemp(prefix="insula-door-", dir="/var/tmp"))
    folder.chmod(0o755)
    if request.param == "user":
        subprocess.run(["useradd", "--no-create-home", "--home-dir", str(folder), _USER], check=True)
    someone = None
    try:
        someone = _stranger(folder, pwd.getpwnam("root" if request.param == "root" else _USER))
        yield someone
    finally:
        if someone is not None:
            subprocess.run(
                [*someone.become, "./insula", "service", "stop"],
                cwd=someone.clone,
                env=dict(someone.environment),
                check=False,
                timeout=120,
            )
        if request.param == "user":
            subprocess.run(["userdel", _USER], check=True)
        shutil.rmtree(folder)


def test_launch_ends_in_a_root_shell_and_delete_leaves_nothing(stranger: Stranger) -> None:
    told = stranger.insula("launch", "web1", "--yes")
    assert "ssh" in told
    for phase in ("kernel", "init", "network", "ready"):
        assert phase in told
    assert "uid=0(root)" in stranger.insula("exec", "web1", "--", "id")
    assert "uid=0(root)" in stranger.insula("ssh", "web1", "--", "id")
    assert "bookworm" in stranger.insula("exec", "web1", "--", "cat", "/etc/os-release")

    # The machine outlives the service, and the next service finds it again.
    boot_id = stranger.insula("exec", "web1", "--", "cat", "/proc/sys/kernel/random/boot_id")
    stranger.insula("service", "stop")
    stranger.insula("service", "start")
    assert stranger.insula("exec", "web1", "--", "cat", "/proc/sys/kernel/random/boot_id") == boot_id

    stranger.insula("delete", "web1", "--yes")
    assert stranger.insula("list", "--json").strip() == "[]"
    stranger.insula("service", "stop")
    assert processes_of(stranger.home) == {}
