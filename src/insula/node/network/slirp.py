"""slirp4netns: its command line and its API socket.

Source: slirp4netns(1) 1.2. The API takes one JSON request a connection and wants the writing side shut afterwards.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from insula.base.errors import HostFailure
from insula.domain.instance import PortForward
from insula.node.network.ports import port_in_use
from insula.node.runtime.sockets import connect

API_SOCKET = "slirp.sock"
GUEST_ADDRESS = "10.0.2.15"  # what its DHCP server gives to the first, and here only, client
_ANSWER_S = 5.0


def command_line(program: str, ready_fd: int, cidr: str = "") -> list[str]:
    """`{pid}` stands for the process whose namespaces it enters. `cidr` is its IPv4 network, empty for its own choice.

    It is started in the folder of its socket, since a Unix socket's path has room for 107 bytes only.
    """
    return [
        program,
        "--disable-host-loopback",
        "--enable-sandbox",
        "--enable-seccomp",
        "--enable-ipv6",
        f"--api-socket={API_SOCKET}",
        f"--ready-fd={ready_fd}",
        *([f"--cidr={cidr}"] if cidr else []),
        "{pid}",
        "up0",
    ]


async def add_forward(api_socket: Path, forward: PortForward) -> None:
    """Raises Conflict when the port is taken, HostFailure when slirp4netns does not answer."""
    arguments = {
        "proto": forward.protocol.value,
        "host_addr": forward.host_address,
        "host_port": forward.host_port,
        "guest_addr": GUEST_ADDRESS,
        "guest_port": forward.guest_port,
    }
    reply = await _ask(api_socket, {"execute": "add_hostfwd", "arguments": arguments})
    if "error" in reply:
        # It tells no reason; the address was checked before, so another program was faster.
        raise port_in_use(forward)


Door = tuple[str, str, int, int]
"""Protocol, the host's address and port, and the port that it leads to in the space."""


async def doors(api_socket: Path) -> dict[Door, int]:
    """The forwards that are open, with the numbers to close them by. Raises HostFailure."""
    reply = await _ask(api_socket, {"execute": "list_hostfwd"})
    entries = reply.get("return", reply).get("entries", [])  # 1.2 leaves out what its manual puts around them
    return {(e["proto"], e["host_addr"], int(e["host_port"]), int(e["guest_port"])): int(e["id"]) for e in entries}


async def open_door(api_socket: Path, door: Door, address: str) -> bool:
    """Whether the host's port could be had. Raises HostFailure."""
    protocol, host_address, host_port, port = door
    arguments = {"proto": protocol, "host_addr": host_address, "host_port": host_port}
    request = {"execute": "add_hostfwd", "arguments": {**arguments, "guest_addr": address, "guest_port": port}}
    return "error" not in await _ask(api_socket, request)


async def close_door(api_socket: Path, number: int) -> None:
    """Connections that came through it go on. Raises HostFailure."""
    await _ask(api_socket, {"execute": "remove_hostfwd", "arguments": {"id": number}})


async def _ask(api_socket: Path, request: dict[str, Any]) -> dict[str, Any]:
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(sock=await connect(api_socket, _ANSWER_S))
            try:
                writer.write(msgspec.json.encode(request))
                writer.write_eof()
                reply = msgspec.json.decode(await reader.read())
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        raise HostFailure(
            "slirp4netns does not answer",
            why=str(error) or f"No answer within {_ANSWER_S:g} s",
            todo="Start the instance again; its network.log tells more",
        ) from error
    return reply if isinstance(reply, dict) else {}
