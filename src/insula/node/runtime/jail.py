"""The jail: which files, devices and namespaces a program gets, and nothing else.

As root the program first loses its user: `setpriv` sets an unprivileged uid and gid, drops all capabilities and sets
no_new_privs. Then bubblewrap builds an empty world: new user, pid, ipc, uts, cgroup and network namespaces (the network
has only a loopback of its own; a NIC comes as an inherited descriptor or a socket in the program's folder), a read-only
root with the shared libraries, the program and what the :class:`Jail` names, at the same paths as outside. There is no
shell and no other program in it. Machines outlive the service, so nothing dies with its parent unless it is asked to.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from insula.base.errors import HostFailure
from insula.base.run import find_program

# Shared libraries and the dynamic linker's cache; links among these are made again inside.
_LIBRARY_PLACES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")
_PLAIN_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


@dataclass(frozen=True)
class Gate:
    """Descriptors by which a caller holds the program back until it is in its cgroup.

    bubblewrap writes JSON with `child-pid` to `report` and waits for a byte (or the end) on `go` before it starts the
    program. Both must be passed on as inherited descriptors.
    """

    report: int
    go: int


@dataclass(frozen=True)
class Jail:
    """What a confined program may see.

    `read_write` and `read_only` are folders or files; a path below a folder of the other kind is honoured. `devices`
    are further device files (/dev/kvm). `uid` is the unprivileged user as root, None to stay who we are; `groups` are
    its supplementary groups. Real root without `uid` has no capabilities inside, yet it owns root's files: only
    such files as are named here, and /proc, which holds writable ones, is left out.
    """

    read_write: tuple[Path, ...] = ()
    read_only: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    folder: Path | None = None  # where the program starts; relative file names in its arguments begin here
    uid: int | None = None
    groups: tuple[int, ...] = ()
    gate: Gate | None = None
    seccomp: int | None = None  # an inherited descriptor that holds a filter, see `seccomp.program_file`
    dies_with_us: bool = False  # for tools that we wait for; a machine outlives the service


def confined(argv: Sequence[str], jail: Jail) -> list[str]:
    """The command that runs `argv` inside `jail`. Inherited descriptors stay open inside.

    Raises :class:`CommandMissing` for a missing program, and :class:`HostFailure` when the jail's user cannot reach
    one of the files because a folder above it is closed.
    """
    program = find_program(argv[0]) if "/" not in argv[0] else argv[0]
    if jail.uid is not None:
        for path in (*jail.read_write, *jail.read_only):
            require_reachable(path, jail.uid, jail.groups)
    return [*_own_user(jail), find_program("bwrap"), *_world(program, jail), "--", program, *argv[1:]]


def _own_user(jail: Jail) -> list[str]:
    if jail.uid is None:
        return []
    groups = [f"--groups={','.join(map(str, jail.groups))}"] if jail.groups else ["--clear-groups"]
    return [
        find_program("setpriv"),
        f"--reuid={jail.uid}",
        f"--regid={jail.uid}",
        *groups,
        "--no-new-privs",
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--",
    ]


def _world(program: str, jail: Jail) -> Iterable[str]:
    yield from ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup")
    yield from ("--unshare-net", "--new-session", "--cap-drop", "ALL", "--as-pid-1", "--hostname", "machine")
    if _forbids_namespaces(find_program("bwrap")):
        yield "--disable-userns"
    yield from ("--clearenv", "--setenv", "PATH", "/usr/bin", "--setenv", "LANG", "C.UTF-8")
    yield from _libraries()
    yield from ("--ro-bind", program, program)
    for device in _PLAIN_DEVICES:
        yield from ("--dev-bind", device, device)
    for path in jail.devices:
        yield from ("--dev-bind", str(path), str(path))
    if jail.uid is not None or os.geteuid() != 0:
        yield from ("--proc", "/proc")
    # Shorter paths first: a file named inside a folder is laid over it, not hidden by it.
    binds = [("--bind", path) for path in jail.read_write] + [("--ro-bind", path) for path in jail.read_only]
    for option, path in sorted(binds, key=lambda bind: len(bind[1].parts)):
        yield from (option, str(path), str(path))
    yield from ("--remount-ro", "/")
    if jail.folder is not None:
        yield from ("--chdir", str(jail.folder))
    if jail.dies_with_us:
        yield "--die-with-parent"
    if jail.seccomp is not None:
        yield from ("--seccomp", str(jail.seccomp))
    if jail.gate is not None:
        yield from ("--info-fd", str(jail.gate.report), "--block-fd", str(jail.gate.go))


@functools.cache
def _forbids_namespaces(bwrap: str) -> bool:
    """Whether this bubblewrap (0.8 on) can forbid further user namespaces.

    Its option table is looked for in the file itself, which takes no process and no waiting. QEMU's own seccomp filter
    forbids them as well, with any bubblewrap.
    """
    return b"disable-userns" in Path(bwrap).read_bytes()


def _libraries() -> Iterable[str]:
    for place in map(Path, _LIBRARY_PLACES):
        if place.is_symlink():
            yield from ("--symlink", str(place.readlink()), str(place))
        elif place.exists():
            yield from ("--ro-bind", str(place), str(place))


def groups_to_read(paths: Iterable[Path]) -> tuple[int, ...]:
    """The groups that a user needs to read those of these files that are not for all, yet for a group."""
    status = [path.stat() for path in paths]
    return tuple(sorted({found.st_gid for found in status if found.st_mode & 0o044 == 0o040 and found.st_gid != 0}))


def require_reachable(path: Path, uid: int, groups: Sequence[int] = ()) -> None:
    """Raise :class:`HostFailure` that names the folder above `path` which user `uid` may not pass."""
    for folder in reversed(path.absolute().parents):
        status = folder.stat()
        if status.st_uid == uid:
            open_to_it = status.st_mode & 0o100
        elif status.st_gid == uid or status.st_gid in groups:
            open_to_it = status.st_mode & 0o010
        else:
            open_to_it = status.st_mode & 0o001
        if not open_to_it:
            raise HostFailure(
                f"The unprivileged user {uid} cannot reach {path}",
                why=f"The folder {folder} is closed to other users (mode {status.st_mode & 0o777:03o})",
                todo=f"Keep INSULA_HOME elsewhere, e.g. in /var/lib, or open the folder: chmod o+x {folder}",
                code="folder-closed",
            )
