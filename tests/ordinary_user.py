"""Running a program as somebody else than root, on a host that lets users have networks, as nearly all hosts do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_TUN = Path("/dev/net/tun")
# What udev makes of the device elsewhere, in a mount namespace of its own.
_OFFER_TUN = 'mount -t tmpfs -o mode=755,size=4k none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec "$@"'


def command_as(uid: int, gid: int, *groups: str) -> Sequence[str]:
    """What runs the command that follows it as that user; `groups` is setpriv's option, by default none."""
    become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", *(groups or ["--clear-groups"]), "--"]
    if _TUN.stat().st_mode & 0o006 == 0o006:
        return become
    return ["unshare", "--mount", "--", "/bin/sh", "-c", _OFFER_TUN, "sh", *become]


def others_may_enter(folder: Path) -> bool:
    """Whether every user can reach what is in a folder."""
    return all(each.stat().st_mode & 0o001 for each in (folder, *folder.parents))
