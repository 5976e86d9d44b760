"""Which way of connecting instances works on this host."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Mapping
from pathlib import Path

from insula.base.errors import HostFailure, InsulaError
from insula.base.run import find_program, run
from insula.node.network import shaping
from insula.node.network.namespace import NamespaceNetwork
from insula.node.network.passt import PasstNetwork
from insula.node.network.wiring import InstanceNetwork, WireRequest, Wiring

_TRY_S = 10.0
_TUN = Path("/dev/net/tun")


class NoWay:
    """Implements InstanceNetwork on a host where none works: says so when an instance is to be connected."""

    name = "none"

    def __init__(self, why: str) -> None:
        self._why = why

    def missing(self) -> Mapping[str, str]:
        return {"network": self._why}

    async def wire(self, request: WireRequest) -> Wiring:
        raise HostFailure(
            "No instance can be connected to a network on this host",
            why=self._why,
            todo="Install what is missing: sudo apt-get install slirp4netns passt iproute2 util-linux",
            code="no-network",
        )

    async def unwire(self, folder: Path) -> None:
        return

    async def is_wired(self, folder: Path) -> bool:
        return False

    async def broken(self, folder: Path) -> str:
        await asyncio.Event().wait()
        return ""


async def choose() -> InstanceNetwork:
    """Namespaces where they work, else passt; `missing()` of the result says what that lacks."""
    try:
        await _try_namespace()
    except InsulaError as error:
        why_not = str(error)
    else:
        if await shaping.is_possible(["unshare", "--user", "--map-root-user", "--net", "--"]):
            return NamespaceNetwork()
        return NamespaceNetwork({"network-limits": "The kernel has no token bucket filter (CONFIG_NET_SCH_TBF)"})
    try:
        find_program("passt")
    except InsulaError as error:
        return NoWay(f"Namespaces: {why_not} passt: {error}")
    return PasstNetwork({"network-namespaces": why_not})


async def _try_namespace() -> None:
    """Raises InsulaError that says what is missing for namespaces."""
    for program in ("slirp4netns", "nsenter", "tc", "unshare"):
        find_program(program)
    _try_tun()
    # A bridge in a new namespace needs user namespaces, network namespaces and the kernel's bridge.
    probe = ["unshare", "--user", "--map-root-user", "--net", "ip", "link", "add", "br0", "type", "bridge"]
    await run(probe, timeout_s=_TRY_S)


def _try_tun() -> None:
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        todo = "Allow it: sudo chmod 0666 /dev/net/tun (udev does so on most systems)"
        if error.errno in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
            todo = "Load it: sudo modprobe tun"
        why = error.strerror or str(error)
        raise HostFailure(f"{_TUN} cannot be opened", why=why, todo=todo, code="no-tun") from error
