"""The guest agent's client against guests that lag, lie, flood and fall silent."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from insula.base.errors import GuestFailure, GuestRefused, InvalidInput, Unsupported
from insula.node.agent import guest_commands
from insula.node.agent.guest import GuestAgent

Reply = Callable[[dict[str, Any], asyncio.StreamWriter], Awaitable[None]]


def answer(writer: asyncio.StreamWriter, value: Any) -> None:
    writer.write(json.dumps({"return": value}).encode() + b"\n")


async def synced(request: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
    """Answer the resynchronization; True when this request was one."""
    if request["execute"] != "guest-sync-delimited":
        return False
    writer.write(b"\xff")
    answer(writer, request["arguments"]["id"])
    return True


@asynccontextmanager
async def guest(folder: Path, reply: Reply) -> AsyncIterator[GuestAgent]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                request = json.loads(line.lstrip(b"\xff"))
                if not await synced(request, writer):
                    await reply(request, writer)
                await writer.drain()
        except ConnectionError:  # the client had enough of us, as it should
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, folder / "agent.sock")
    agent = GuestAgent(folder / "agent.sock", "web1")
    try:
        yield agent
    finally:
        await agent.close()
        server.close()
        await asyncio.sleep(0.01)


async def test_a_stale_reply_is_not_taken_for_an_answer(folder: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"return": "for somebody before"}\n{"return": 4}\n')
        request = json.loads((await reader.readline()).lstrip(b"\xff"))
        writer.write(b"\xff")
        answer(writer, request["arguments"]["id"])
        await reader.readline()
        answer(writer, "mine")
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(serve, folder / "agent.sock")
    agent = GuestAgent(folder / "agent.sock", "web1")
    assert await agent.call("guest-ping") == "mine"
    await agent.close()
    server.close()
    await asyncio.sleep(0.01)


async def test_a_silent_guest_times_out_and_the_next_call_is_clean(folder: Path) -> None:
    calls = 0

    async def reply(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            answer(writer, request["execute"])

    async with guest(folder, reply) as agent:
        with pytest.raises(GuestFailure, match="does not answer") as caught:
            await agent.call("guest-slow", timeout_s=0.1)
        assert caught.value.code == "guest-silent"
        assert await agent.call("guest-info", timeout_s=5) == "guest-info"


async def test_an_endless_reply_is_cut_off(folder: Path) -> None:
    async def reply(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with guest(folder, reply) as agent:
        with pytest.raises(GuestFailure, match="nonsense") as caught:
            await agent.call("guest-info", timeout_s=10, max_reply_bytes=1_000_000)
        assert "longer than 1000000 bytes" in caught.value.why


@pytest.mark.parametrize("line", [b"not json", b"[" * 100_000, b'"text"', b"{}", b'{"error": 7}', b"\xfe\x00"])
async def test_nonsense_is_told_as_such(folder: Path, line: bytes) -> None:
    async def reply(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(line + b"\n")

    async with guest(folder, reply) as agent:
        with pytest.raises(GuestFailure, match="nonsense"):
            await agent.call("guest-info", timeout_s=5)


async def test_the_agents_own_errors_keep_their_words(folder: Path) -> None:
    async def reply(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        kind = "CommandNotFound" if request["execute"] == "guest-new" else "GenericError"
        writer.write(json.dumps({"error": {"class": kind, "desc": "no such file"}}).encode() + b"\n")

    async with guest(folder, reply) as agent:
        with pytest.raises(GuestRefused) as refused:
            await agent.call("guest-file-open")
        assert refused.value.why == "no such file"
        with pytest.raises(Unsupported):
            await agent.call("guest-new")


async def test_without_a_socket_the_agent_is_silent(folder: Path) -> None:
    with pytest.raises(GuestFailure, match="does not answer"):
        await GuestAgent(folder / "agent.sock", "web1").call("guest-ping", timeout_s=1)


async def test_calls_do_not_interleave(folder: Path) -> None:
    busy = False

    async def reply(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        assert not busy
        busy = True
        await asyncio.sleep(0.01)
        busy = False
        answer(writer, request["arguments"]["number"])

    async with guest(folder, reply) as agent:
        answers = await asyncio.gather(*(agent.call("guest-echo", {"number": number}) for number in range(5)))
    assert answers == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "status",
    [
        {"exited": True, "exitcode": "zero"},
        {"exited": True, "exitcode": 0, "out-data": 5},
        {"exited": True, "exitcode": 0, "out-data": "***"},
        ["exited"],
    ],
)
async def test_a_lying_exec_status_is_refused(folder: Path, status: Any) -> None:
    async def reply(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        answer(writer, {"pid": 1} if request["execute"] == "guest-exec" else status)

    async with guest(folder, reply) as agent:
        with pytest.raises(GuestFailure, match="nonsense"):
            await guest_commands.execute(agent, ["id"], b"", 5)


async def test_large_output_comes_whole_and_truncation_is_told(folder: Path) -> None:
    output = bytes(range(256)) * 8192

    async def reply(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if request["execute"] == "guest-exec":
            answer(writer, {"pid": 1})
            return
        data = base64.b64encode(output).decode()
        answer(writer, {"exited": True, "exitcode": 3, "out-data": data, "out-truncated": True})

    async with guest(folder, reply) as agent:
        done = await guest_commands.execute(agent, ["big"], b"", 10)
    assert done.stdout == output
    assert (done.exit_code, done.truncated) == (3, True)


async def test_a_program_that_overstays_is_killed(folder: Path) -> None:
    killed: list[list[str]] = []

    async def reply(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if request["execute"] == "guest-exec":
            if request["arguments"]["path"] == "kill":
                killed.append(request["arguments"]["arg"])
            answer(writer, {"pid": 77})
        else:
            answer(writer, {"exited": False})

    async with guest(folder, reply) as agent:
        with pytest.raises(GuestFailure, match="did not end within") as caught:
            await guest_commands.execute(agent, ["sleep", "100"], b"", 0.1)
    assert caught.value.code == "exec-timeout"
    assert killed == [["-9", "77"]]


async def test_an_interrupted_copy_leaves_no_half_file(folder: Path) -> None:
    removed: list[list[str]] = []
    opened: list[str] = []

    async def reply(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        arguments = request["arguments"]
        match request["execute"]:
            case "guest-file-open":
                opened.append(arguments["path"])
                answer(writer, 5)
            case "guest-file-write":
                answer(writer, {"count": 1, "eof": False})
            case "guest-exec":
                removed.append([arguments["path"], *arguments["arg"]])
                answer(writer, {"pid": 1})
            case "guest-exec-status":
                answer(writer, {"exited": True, "exitcode": 0})
            case _:
                answer(writer, {})

    async def data() -> AsyncIterator[bytes]:
        yield b"hello"

    async with guest(folder, reply) as agent:
        with pytest.raises(GuestFailure, match="a part of the data"):
            await guest_commands.write_file(agent, "/root/x", data(), 0o644)
    assert opened[0].startswith("/root/x.insula-")
    assert removed == [["rm", "-f", opened[0]]]


@pytest.mark.parametrize("path", ["", "relative", "/ends/", "/zero\0byte", "/" + "x" * 5000])
async def test_paths_that_are_none_are_refused(folder: Path, path: str) -> None:
    agent = GuestAgent(folder / "agent.sock", "web1")
    with pytest.raises(InvalidInput):
        await guest_commands.read_file(agent, path)


@pytest.mark.parametrize("argv", [[], [""], ["a\0b"], ["x" * 200_000]])
async def test_commands_that_cannot_run_are_refused(folder: Path, argv: list[str]) -> None:
    agent = GuestAgent(folder / "agent.sock", "web1")
    with pytest.raises(InvalidInput):
        await guest_commands.execute(agent, argv, b"", 1)


_LO = {"name": "lo", "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "127.0.0.1"}]}
_V6 = {"ip-address-type": "ipv6", "ip-address": "fe80::1"}
_V4 = {"ip-address-type": "ipv4", "ip-address": "10.0.2.15"}


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([_LO], True),
        ([_LO, {"name": "eth0"}], False),
        ([_LO, {"name": "eth0", "ip-addresses": [_V6]}], False),
        ([_LO, {"name": "eth0", "ip-addresses": [_V6, _V4]}], True),
        (["?", {"name": "eth0", "ip-addresses": [7]}], False),
    ],
    ids=["no card", "no address", "link-local only", "address", "nonsense"],
)
async def test_an_address_is_seen(folder: Path, cards: list[Any], expected: bool) -> None:
    async def reply(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        assert request["execute"] == "guest-network-get-interfaces"
        answer(writer, cards)

    async with guest(folder, reply) as agent:
        assert await guest_commands.has_address(agent) is expected


async def test_attaching_asks_nothing(folder: Path) -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_unix_server(serve, folder / "agent.sock")
    agent = GuestAgent(folder / "agent.sock", "web1")
    await agent.attach(1)
    await asyncio.sleep(0.05)
    assert asked == []
    await agent.close()
    await asyncio.sleep(0.05)
    assert asked == [b""]
    server.close()
