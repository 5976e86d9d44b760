"""The service behind real sockets, called by the product's own client from another thread."""

from __future__ import annotations

import asyncio
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from insula.base.errors import Conflict, Forbidden, HostFailure, NotFound, Unauthenticated, Unavailable
from insula.client import Client
from insula.domain.access import Scope
from insula.frontends import listen
from insula.frontends.api.app import make_app
from insula.frontends.certificates import Certificates
from insula.frontends.edge import Peer
from insula.frontends.limits import RateLimits
from insula.frontends.listen import PeerProtocol, Tls, bind_tcp, bind_unix, serve
from tests.api.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

_T = TypeVar("_T")


@dataclass
class Running:
    """A service that accepts connections."""

    url: str
    socket_path: Path
    stop: asyncio.Event
    ended: asyncio.Task[None]

    def client(self, token: str = "", project: str = "default") -> Client:
        return Client(self.url, token, project, timeout_s=10)

    def local(self, project: str = "default") -> Client:
        return Client(f"unix:{self.socket_path}", "", project, timeout_s=10)


@asynccontextmanager
async def running(world: World, folder: Path) -> AsyncIterator[Running]:
    stop, closing, ready = asyncio.Event(), asyncio.Event(), asyncio.Event()
    where: list[str] = []

    def on_ready(address: str) -> None:
        where.append(address)
        ready.set()

    app = make_app(world.actions, RateLimits(10000), closing=closing)
    path = folder / "s.sock"
    task = asyncio.create_task(
        serve(app, host="127.0.0.1", port=0, socket_path=path, stop=stop, closing=closing, on_ready=on_ready)
    )
    async with asyncio.timeout(10):
        await ready.wait()
    try:
        yield Running(f"http://{where[0]}", path, stop, task)
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


async def beside(work: Callable[[], _T]) -> _T:
    """The client blocks; it runs in a thread."""
    async with asyncio.timeout(20):
        return await asyncio.to_thread(work)


async def ask(client: Client, question: Callable[[Client], _T]) -> _T:
    """One question with a client of its own."""

    def work() -> _T:
        with client:
            return question(client)

    return await beside(work)


async def test_the_socket_knows_us_without_a_token(world: World, tmp_path: Path) -> None:
    async with running(world, tmp_path) as service:
        identity = await ask(service.local(), Client.whoami)
        assert identity.subject.startswith("local:")
        assert identity.scopes == frozenset({Scope.ADMIN})
        assert stat.S_IMODE(service.socket_path.stat().st_mode) == 0o600


async def test_answers_over_tcp_are_not_held_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nagle's algorithm is off on every connection, as asyncio does it where it knows the protocol."""
    found: list[int] = []
    made = PeerProtocol.connection_made

    def look(self: PeerProtocol, transport: asyncio.Transport) -> None:
        connection = transport.get_extra_info("socket")
        if connection.family == socket.AF_INET:
            found.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        made(self, transport)

    monkeypatch.setattr(PeerProtocol, "connection_made", look)
    async with running(world, tmp_path) as service:
        await ask(service.client(await world.secret(Scope.ADMIN)), Client.whoami)
    assert found
    assert all(found)


async def test_the_same_is_there_over_https(world: World, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "certificates", ["api.digitalocean.com"])
    certificates.prepare()
    stop, ready = asyncio.Event(), asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    app = make_app(world.actions, RateLimits(10000), certificates=certificates)
    serving = serve(
        app,
        host="127.0.0.1",
        port=0,
        socket_path=tmp_path / "s.sock",
        stop=stop,
        on_ready=lambda _: ready.set(),
        tls=Tls("127.0.0.1", port, certificates.context()),
    )
    task = asyncio.create_task(serving)
    async with asyncio.timeout(10):
        await ready.wait()
    trusting = ssl.create_default_context(cadata=certificates.authority_pem)
    try:
        async with httpx.AsyncClient(verify=trusting, trust_env=False) as client:
            answer = await client.get(f"https://127.0.0.1:{port}/v1/ca")
            assert answer.json() == {"certificate": certificates.authority_pem}
            headers = {"Authorization": f"Bearer {await world.secret(Scope.ADMIN)}"}
            assert (await client.get(f"https://localhost:{port}/v1/identity", headers=headers)).status_code == 200
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.get(f"https://127.0.0.1:{port}/v1/ca")
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


async def test_headers_cannot_pretend_to_be_a_peer(world: World, tmp_path: Path) -> None:
    async with running(world, tmp_path) as service:
        with pytest.raises(Unauthenticated):
            await ask(service.client(), Client.whoami)


async def test_other_users_are_refused_on_the_socket(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "Peer", lambda uid, pid: Peer(uid=65533, pid=pid))
    async with running(world, tmp_path) as service:
        with pytest.raises(Forbidden) as caught:
            await ask(service.local(), Client.whoami)
        assert caught.value.code == "untrusted-user"


async def test_a_life_through_the_client(world: World, tmp_path: Path) -> None:
    secret = await world.secret(*(scope for scope in Scope if scope is not Scope.ADMIN))
    async with running(world, tmp_path) as service:

        def life() -> None:
            with service.client(secret) as client:
                seen: list[str] = []
                wish = client.instances.create("life", image="tiny", plan="micro-1", tags=["a"])
                done = client.operations.wait(wish.id, timeout_s=20, on_event=lambda event: seen.append(event.kind))
                assert done.target == wish.target
                assert "step" in seen
                shown = client.instances.wait("life", timeout_s=5)
                assert shown.id == wish.target
                assert shown.ssh_port is not None
                assert client.guest.execute("life", ["echo", "hello"]).stdout == b"hello\n"
                assert client.guest.write_file("life", "/root/x", [b"some ", b"bytes"], mode=0o600) == 10
                assert b"".join(client.guest.read_file("life", "/root/x")) == b"some bytes"
                assert b"".join(client.guest.read_file("life", "/root/x")) == b"some bytes"
                assert client.guest.console_log("life")
                assert client.guest.set_hostname("life", "other.example.org").hostname == "other.example.org"
                assert client.instances.rename("life", "death").name == "death"
                assert client.instances.set_tags("death", ["b", "a"]).tags == ("a", "b")
                assert client.instances.protect("death").protected
                with pytest.raises(Conflict):
                    client.instances.delete("death")
                assert not client.instances.protect("death", False).protected
                stopped = client.operations.wait(client.instances.stop("death", graceful_s=0).id, timeout_s=20)
                assert stopped.result is not None
                client.operations.wait(client.instances.delete("death").id, timeout_s=20)
                with pytest.raises(NotFound):
                    client.instances.get("death")
                assert {entry.action for entry in client.audit.list()} >= {"instances.create", "guest.exec"}

        await beside(life)


async def test_the_console_carries_bytes_both_ways(world: World, tmp_path: Path) -> None:
    instance = await world.create("console")
    async with running(world, tmp_path) as service:

        def talk() -> bytes:
            with service.local() as client, client.guest.attach(instance.id) as console:
                console.write(b"echo insula\n")
                heard = b""
                while b"insula" not in heard and (data := console.read()):
                    heard += data
                return heard

        assert b"insula" in await beside(talk)


async def test_the_console_of_nothing_is_a_problem(world: World, tmp_path: Path) -> None:
    async with running(world, tmp_path) as service:
        with pytest.raises(NotFound) as caught:
            await ask(service.local(), lambda client: client.guest.attach("nothing"))
        assert caught.value.code == "unknown-instance"
        with pytest.raises(Unauthenticated):
            await ask(service.client(), lambda client: client.guest.attach("nothing"))


async def test_the_console_needs_its_scope(world: World, tmp_path: Path) -> None:
    instance = await world.create("guarded")
    secret = await world.secret(*(s for s in Scope if s not in (Scope.ADMIN, Scope.INSTANCES_EXEC)))
    foreign = await world.secret(Scope.INSTANCES_EXEC, project="other")
    async with running(world, tmp_path) as service:
        with pytest.raises(Forbidden):
            await ask(service.client(secret), lambda client: client.guest.attach(instance.id))
        with pytest.raises(NotFound):
            await ask(service.client(foreign, "other"), lambda client: client.guest.attach(instance.id))


async def test_stopping_ends_consoles_and_events(world: World, tmp_path: Path) -> None:
    instance = await world.create("endless")
    async with running(world, tmp_path) as service:
        console = await ask(service.local(), lambda client: client.guest.attach(instance.id))
        reading = asyncio.create_task(beside(lambda: read_all(console.read)))
        began_s = asyncio.get_running_loop().time()
        service.stop.set()
        async with asyncio.timeout(4):
            await service.ended
            await reading
        assert asyncio.get_running_loop().time() - began_s < 3
        assert console.close_reason == "the service stops"
        assert not service.socket_path.exists()
        with pytest.raises(Unavailable):
            await ask(service.local(), Client.whoami)


def read_all(read: Callable[[], bytes]) -> bytes:
    return b"".join(iter(read, b""))


async def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(Conflict) as caught:
            bind_tcp("127.0.0.1", holder.getsockname()[1])
    assert caught.value.code == "port-taken"
    assert "INSULA_LISTEN" in caught.value.todo


async def test_a_foreign_address_is_told() -> None:
    with pytest.raises(HostFailure):
        bind_tcp("192.0.2.1", 0)


async def test_a_dead_services_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "s.sock"
    bind_unix(path).close()
    assert path.exists()
    second = bind_unix(path)
    second.listen()
    with pytest.raises(Conflict) as caught:
        bind_unix(path)
    assert caught.value.code == "service-running"
    second.close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [found.name for found in path.parent.iterdir()] == ["s.sock"]
