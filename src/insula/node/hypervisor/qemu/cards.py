"""Network cards that come and go while a machine runs. Each call asks QEMU what it has, so it may be repeated.

Every q35 machine has a few empty ports of PCI Express, since a card cannot come to its root bus later. A card goes when
the guest has let go of it. Source: QEMU QMP Reference (netdev_add, device_add, device_del), docs/pcie.txt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from insula.base.errors import Conflict, HostFailure, Unsupported
from insula.node.hypervisor.driver import TapNic
from insula.node.hypervisor.qemu.qmp import Qmp

PLACES = ("cards-1", "cards-2", "cards-3")
_SLOT = "10"  # of the root bus; the ports are functions of one device there
_DEVICES = "/machine/peripheral"
_CARD = "card-"
_POLL_S = 0.02
_GONE_S = 15.0


def places() -> Iterable[dict[str, Any]]:
    """The ports, as arguments of `-device`."""
    for number, name in enumerate(PLACES):
        yield {
            "driver": "pcie-root-port",
            "id": name,
            "addr": f"{_SLOT}.{number}",
            "multifunction": True,
            "chassis": number + 1,
            "io-reserve": 0,
        }


async def cards(qmp: Qmp) -> frozenset[str]:
    """The MAC addresses of those that came later."""
    return frozenset(_mac(name) for name in await _children(qmp, _DEVICES) if name.startswith(_CARD))


async def plug(qmp: Qmp, nic: TapNic) -> None:
    """See CanPlugCards."""
    devices = await _children(qmp, _DEVICES)
    card = _name(nic.mac)
    if card in devices:
        return
    if not set(PLACES) <= devices:
        raise Unsupported(
            "This machine has no place for further network cards",
            why="It is a microvm, or was started by an older Insula",
            todo="Stop the instance and start it again; one with the machine type microvm has one card only",
            code="no-cards",
        )
    place = await _free_place(qmp)
    network = f"net-{card}"
    await _forget_network(qmp, network)  # of a try that was cut off
    await qmp.give(network, nic.fd)
    await qmp.run("netdev_add", {"type": "tap", "id": network, "fd": network})
    device = {"driver": "virtio-net-pci", "id": card, "netdev": network, "mac": nic.mac, "bus": place, "romfile": ""}
    await qmp.run("device_add", device)


async def unplug(qmp: Qmp, mac: str) -> None:
    """See CanPlugCards."""
    card = _name(mac)
    if card in await _children(qmp, _DEVICES):
        await qmp.run("device_del", {"id": card})
        await _await_gone(qmp, card)
    await _forget_network(qmp, f"net-{card}")


async def _await_gone(qmp: Qmp, card: str) -> None:
    try:
        async with asyncio.timeout(_GONE_S):
            while card in await _children(qmp, _DEVICES):  # noqa: ASYNC110 - QEMU is asked
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise HostFailure(
            "The guest does not let go of a network card",
            why=f"It was asked to {_GONE_S:g} s ago; one that stands still or has not booted cannot",
            todo="Try again when it has booted, or stop the instance: then the card goes for certain",
            code="card-stuck",
        ) from error


async def _free_place(qmp: Qmp) -> str:
    """A port that nobody is plugged into."""
    taken = set()
    for bus in await qmp.run("query-pci"):
        for device in bus["devices"]:
            if device.get("qdev_id") in PLACES and device.get("pci_bridge", {}).get("devices"):
                taken.add(str(device["qdev_id"]))
    free = next((name for name in PLACES if name not in taken), None)
    if free is None:
        raise Conflict(
            "This machine has no place for a further network card",
            why=f"It has {len(PLACES)} beside its first one",
            todo="Take one away first",
            code="too-many-cards",
        )
    return free


async def _forget_network(qmp: Qmp, network: str) -> None:
    """QEMU does not tell which it has."""
    try:
        await qmp.run("netdev_del", {"id": network})
    except HostFailure as error:
        if "DeviceNotFound" not in error.why:
            raise


async def _children(qmp: Qmp, path: str) -> frozenset[str]:
    return frozenset(str(child["name"]) for child in await qmp.run("qom-list", {"path": path}))


def _name(mac: str) -> str:
    return f"{_CARD}{mac.replace(':', '')}"


def _mac(name: str) -> str:
    digits = name.removeprefix(_CARD)
    return ":".join(digits[start : start + 2] for start in range(0, len(digits), 2))
