"""What every way of connecting instances promises; `none` keeps the promises that need no cable."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import network_limits
from insula.base.errors import Conflict, HostFailure
from insula.domain.instance import PortForward, Protocol
from insula.node.network import record
from insula.node.network.detect import choose
from insula.node.network.namespace import NamespaceNetwork
from insula.node.network.none import NoNetwork
from insula.node.network.passt import PasstNetwork
from insula.node.network.wiring import MARKER, CanForward, InstanceNetwork, WireRequest

_MAC = "52:54:00:00:00:01"
_UID = 1_999_999_001 if os.geteuid() == 0 else None


def _has_namespaces() -> bool:
    return os.access("/dev/net/tun", os.R_OK | os.W_OK) and shutil.which("slirp4netns") is not None


@pytest.fixture(params=["namespace", "passt", "none"])
def network(request: pytest.FixtureRequest) -> InstanceNetwork:
    if request.param == "namespace":
        if not _has_namespaces():
            pytest.skip("needs slirp4netns and a /dev/net/tun that we may open")
        return NamespaceNetwork()
    if request.param == "passt":
        if shutil.which("passt") is None:
            pytest.skip("needs passt")
        return PasstNetwork()
    return NoNetwork()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="insula-net-", dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wish(folder: Path, *forwards: PortForward) -> WireRequest:
    return WireRequest("ins_test", folder, _MAC, forwards, 100, _UID)


def processes(folder: Path) -> list[int]:
    """Living processes that carry the folder's mark."""
    mark = f"{MARKER}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def test_wiring_opens_the_ports_and_unwiring_leaves_nothing(network: InstanceNetwork, folder: Path) -> None:
    forwards = (PortForward(22, free_port()), PortForward(53, free_port(), protocol=Protocol.UDP))
    with await network.wire(wish(folder, *forwards)) as wiring:
        assert await network.is_wired(folder)
        if not isinstance(network, NoNetwork):
            assert (wiring.tap_fd is None) != (wiring.socket is None)
            with socket.create_connection(("127.0.0.1", forwards[0].host_port), timeout=5):
                pass
    assert wiring.tap_fd is None, "the descriptor is closed"
    for _ in range(2):
        await network.unwire(folder)
    assert processes(folder) == []
    for forward in forwards:
        kind = socket.SOCK_STREAM if forward.protocol is Protocol.TCP else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET, kind) as port:
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port.bind((forward.host_address, forward.host_port))


async def test_wiring_again_replaces_what_was(network: InstanceNetwork, folder: Path) -> None:
    request = wish(folder, PortForward(22, free_port()))
    with await network.wire(request):
        first = processes(folder)
    with await network.wire(request):
        second = processes(folder)
    assert len(first) == len(second)
    assert not set(first) & set(second)
    await network.unwire(folder)


async def test_another_object_finds_and_ends_it(network: InstanceNetwork, folder: Path) -> None:
    with await network.wire(wish(folder)):
        again = type(network)()
        assert await again.is_wired(folder)
        await again.unwire(folder)
    assert processes(folder) == []


async def test_a_taken_port_is_told_and_leaves_nothing(network: InstanceNetwork, folder: Path) -> None:
    if isinstance(network, NoNetwork):
        pytest.skip("it opens no ports")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"127.0.0.1:{port}") as caught:
            await network.wire(wish(folder, PortForward(80, free_port()), PortForward(22, port)))
    assert caught.value.code == "port-in-use"
    assert processes(folder) == []


async def test_forwards_are_opened_on_a_network_that_stands(network: InstanceNetwork, folder: Path) -> None:
    if not isinstance(network, CanForward):
        pytest.skip("it takes forwards only when it is wired")
    forwards = (PortForward(22, free_port()), PortForward(53, free_port(), protocol=Protocol.UDP))
    with await network.wire(wish(folder)), socket.create_server(("127.0.0.1", 0)) as taken:
        before = processes(folder)
        await network.forward(folder, forwards)
        assert processes(folder) == before
        if not isinstance(network, NoNetwork):
            with socket.create_connection(("127.0.0.1", forwards[0].host_port), timeout=5):
                pass
            with pytest.raises(Conflict, match="port") as caught:
                await network.forward(folder, (PortForward(80, taken.getsockname()[1]),))
            assert caught.value.code == "port-in-use"
    await network.unwire(folder)
    assert processes(folder) == []


async def test_a_part_that_dies_is_told(network: InstanceNetwork, folder: Path) -> None:
    with await network.wire(wish(folder)):
        broken = asyncio.create_task(network.broken(folder))
        await asyncio.sleep(0.1)
        assert not broken.done()
        if isinstance(network, NoNetwork):
            broken.cancel()
            return
        found = record.load(folder)
        assert found is not None
        os.kill(found.processes[-1].pid, signal.SIGKILL)
        async with asyncio.timeout(1):
            assert await broken == found.processes[-1].name
        assert not await network.is_wired(folder)
    await network.unwire(folder)
    assert processes(folder) == []


async def test_helpers_run_as_the_instances_user(network: InstanceNetwork, folder: Path) -> None:
    with await network.wire(wish(folder)):
        for pid in processes(folder):
            status = Path(f"/proc/{pid}/status").read_text()
            uids = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
            assert set(uids) == {str(os.getuid() if _UID is None else _UID)}
    await network.unwire(folder)


async def test_the_host_chooses_a_way_that_works(folder: Path) -> None:
    network = await choose()
    assert network.name == ("namespace" if _has_namespaces() else "passt")
    with await network.wire(wish(folder)):
        assert await network.is_wired(folder)
    await network.unwire(folder)


async def test_a_failing_helper_is_told_with_its_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not _has_namespaces():
        pytest.skip("needs namespaces")
    line = ["/bin/sh", "-c", "echo out of luck >&2; exit 1", "{pid}"]
    monkeypatch.setattr("insula.node.network.slirp.command_line", lambda program, ready_fd: line)
    with pytest.raises(HostFailure, match="did not come up") as caught:
        await NamespaceNetwork().wire(wish(folder))
    assert "out of luck" in caught.value.why
    assert processes(folder) == []


@pytest.mark.skipif(not _has_namespaces(), reason="needs slirp4netns and a /dev/net/tun that we may open")
async def test_the_speed_limit_holds() -> None:
    to_guest, from_guest = await network_limits.rates(50, seconds=1.5)
    # A busy host may not reach the limit; the bench shows that an idle one comes within a tenth of it.
    assert 20 <= to_guest <= 55
    assert 20 <= from_guest <= 55
