"""What guests learn about themselves over HTTP, whatever they send."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest

from insula.domain.instance import Resources
from insula.node.agent.metadata import Metadata
from insula.node.network.none import NoNetwork
from insula.protocol.node import InstanceSpec

SPEC = InstanceSpec(
    "ins_1", "default", "web1", "web1.example", "tiny", Resources(1, 64, 1, 100), ssh_keys=("ssh-ed25519 AAAA ada",)
)
USER_DATA = "#cloud-config\npackages: [nginx]\n"


class Loopback(NoNetwork):
    """A space whose guests ask from 127.0.0.N."""

    def __init__(self) -> None:
        super().__init__()
        self.standing = {"spc_1": "one"}
        self.listens_at = 0
        self.opened = 0

    def epochs(self) -> Mapping[str, str]:
        return self.standing

    async def open_metadata(self, space_id: str) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self.listens_at = listener.getsockname()[1]
        self.opened += 1
        return listener

    def instance_at(self, space_id: str, address: str) -> str | None:
        return {"127.0.0.1": "ins_1", "127.0.0.2": "ins_2", "127.0.0.3": "ins_gone"}.get(address)


@pytest.fixture
async def network() -> AsyncIterator[Loopback]:
    network = Loopback()
    specs = {"ins_1": replace(SPEC, user_data=USER_DATA), "ins_2": replace(SPEC, id="ins_2", hostname="web2")}
    served = Metadata(network, specs.get)
    task = asyncio.create_task(served.run())
    async with asyncio.timeout(5):
        while not network.listens_at:
            await asyncio.sleep(0.01)
    yield network
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def ask(network: Loopback, request: str, *, of: str = "127.0.0.1") -> tuple[str, bytes]:
    """The status and the body of the answer, after which the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", network.listens_at, local_addr=(of, 0))
    writer.write(request.encode())
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head.decode().splitlines()[0].partition(" ")[2], body


def get(path: str, method: str = "GET") -> str:
    return f"{method} {path} HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n"


async def test_each_learns_about_itself_only(network: Loopback) -> None:
    for of, instance_id, hostname, user_data in (
        ("127.0.0.1", "ins_1", "web1.example", USER_DATA),
        ("127.0.0.2", "ins_2", "web2", ""),
    ):
        status, body = await ask(network, get("/meta-data"), of=of)
        assert status == "200 OK"
        facts = json.loads(body)
        assert (facts["instance-id"], facts["local-hostname"]) == (instance_id, hostname)
        assert facts["public-keys"] == ["ssh-ed25519 AAAA ada"]
        assert await ask(network, get("/user-data?recursive=true"), of=of) == ("200 OK", user_data.encode())
    for of in ("127.0.0.3", "127.0.0.4"):
        assert (await ask(network, get("/meta-data"), of=of))[0] == "404 Not Found"


async def test_what_is_not_there_or_no_request_is_told(network: Loopback) -> None:
    status, listed = await ask(network, get("/"))
    assert (status, listed.splitlines()[:3]) == ("200 OK", [b"meta-data", b"user-data", b"vendor-data"])
    assert await ask(network, get("/meta-data", "HEAD")) == ("200 OK", b"")
    assert (await ask(network, get("/network-config")))[0] == "404 Not Found"
    assert (await ask(network, get("/../../etc/passwd")))[0] == "404 Not Found"
    assert (await ask(network, get("/meta-data", "PUT")))[0] == "405 Method Not Allowed"
    assert (await ask(network, "nonsense\r\n\r\n"))[0] == "400 Bad Request"
    assert (await ask(network, f"GET /{'x' * 9000} HTTP/1.1\r\n"))[0] == "400 Bad Request"


async def test_several_requests_on_one_connection(network: Loopback) -> None:
    first = get("/vendor-data").replace("Connection: close\r\n", "")
    reader, writer = await asyncio.open_connection("127.0.0.1", network.listens_at)
    writer.write((first + get("/user-data")).encode())
    async with asyncio.timeout(5):
        answers = await reader.read()
    writer.close()
    assert answers.count(b"200 OK") == 2
    assert answers.endswith(USER_DATA.encode())


async def test_a_space_that_was_made_anew_is_listened_to_again(network: Loopback) -> None:
    before = network.listens_at
    network.standing = {"spc_1": "two"}
    async with asyncio.timeout(5):
        while network.opened < 2:
            await asyncio.sleep(0.01)
    assert (await ask(network, get("/")))[0] == "200 OK"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", before)


async def test_headers_are_heard_and_a_token_is_its_guests_own(network: Loopback) -> None:
    lifetime = "X-AWS-EC2-Metadata-Token-TTL-Seconds:  60\r\n"
    status, token = await ask(network, get("/latest/api/token", "PUT").replace("Connection", f"{lifetime}Connection"))
    assert status == "200 OK"
    shown = f"x-aws-ec2-metadata-token: {token.decode()}\r\nConnection"
    question = get("/latest/meta-data/hostname").replace("Connection", shown)
    assert await ask(network, question) == ("200 OK", b"web1.example")
    assert (await ask(network, question, of="127.0.0.2"))[0] == "401 Unauthorized"


async def test_each_form_tells_who_asks_of_himself(network: Loopback) -> None:
    for of, hostname in (("127.0.0.1", b"web1.example"), ("127.0.0.2", b"web2")):
        for path in ("/metadata/v1/hostname", "/2009-04-04/meta-data/hostname"):
            assert await ask(network, get(path), of=of) == ("200 OK", hostname)
    for path in ("/", "/metadata/v1.json", "/latest/user-data", "/v1/user-data"):
        assert (await ask(network, get(path), of="127.0.0.4"))[0] == "404 Not Found"
