"""What this host lacks for networks, told before anybody needs them."""

from __future__ import annotations

import ctypes.util
import errno
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from insula.base.errors import HostFailure, InsulaError
from insula.base.run import find_program

_TUN = Path("/dev/net/tun")
_PROGRAMS = ("slirp4netns", "dnsmasq", "nsenter", "setpriv")


def lacks() -> Mapping[str, str]:
    """By capability, why it cannot be had and what to do; empty when nothing is missing. Blocking, but quick."""
    problems = []
    programs: list[Callable[[], object]] = [partial(find_program, name) for name in _PROGRAMS]
    checks: list[Callable[[], object]] = [_check_tun, _check_rules, *programs]
    for check in checks:
        try:
            check()
        except InsulaError as error:
            problems.append(str(error))
    return {"network": " ".join(problems)} if problems else {}


def _check_tun() -> None:
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        todo = "Allow it: sudo chmod 0666 /dev/net/tun (udev does so on most systems)"
        if error.errno in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
            todo = "Load it: sudo modprobe tun"
        why = error.strerror or str(error)
        raise HostFailure(f"{_TUN} cannot be opened", why=why, todo=todo, code="no-tun") from error


def _check_rules() -> None:
    if ctypes.util.find_library("nftables") is None:
        raise HostFailure(
            "There is no libnftables", why="It filters networks' packets", todo="sudo apt-get install nftables"
        )
