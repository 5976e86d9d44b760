"""Ports that are taken are told with who holds them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from insula.base.errors import Conflict, InvalidInput
from insula.domain.instance import PortForward, Protocol
from insula.node.network.ports import holder_of, require_free


def test_a_free_port_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    require_free([PortForward(22, port), PortForward(53, port, protocol=Protocol.UDP)])


@pytest.mark.parametrize("protocol", list(Protocol))
def test_a_taken_port_names_its_holder(protocol: Protocol) -> None:
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if protocol is Protocol.TCP:
            taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Conflict) as caught:
            require_free([PortForward(22, port, protocol=protocol)])
    assert caught.value.code == "port-in-use"
    assert f"127.0.0.1:{port}/{protocol}" in caught.value.what
    assert f"(process {os.getpid()})" in caught.value.why


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be used") as caught:
        require_free([PortForward(22, 40000, host_address="203.0.113.7")])
    assert "forwards" in caught.value.fields


def test_an_unseen_holder_is_not_invented(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(
        "  sl  local_address rem_address   st\n"
        "   0: 0100007F:9C40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n"
    )
    assert holder_of(PortForward(22, 40000), tmp_path) == ""
    process = tmp_path / "99"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "3").symlink_to("socket:[4711]")
    (process / "comm").write_text("nginx\n")
    assert holder_of(PortForward(22, 40000), tmp_path) == "nginx (process 99)"
