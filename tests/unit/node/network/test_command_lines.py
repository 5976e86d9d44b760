"""What the network's programs are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.domain.instance import PortForward, Protocol
from insula.node.network import passt, shaping, slirp


def test_slirp_keeps_guests_from_the_hosts_loopback() -> None:
    argv = slirp.command_line("/usr/bin/slirp4netns", 7)
    assert {"--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"} <= set(argv)
    assert argv[-2:] == ["{pid}", "up0"]


def test_passt_keeps_guests_from_the_hosts_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passt, "find_program", lambda name: f"/usr/bin/{name}")
    forwards = (PortForward(22, 2222), PortForward(53, 5353, "0.0.0.0", Protocol.UDP))
    argv = passt.command_line(forwards, ["192.0.2.53"])
    assert "--no-map-gw" in argv
    assert argv[argv.index("--tcp-ports") + 1] == "127.0.0.1/2222:22"
    assert argv[argv.index("--udp-ports") + 1] == "0.0.0.0/5353:53"
    assert argv[argv.index("--dns") + 1] == "192.0.2.53"


def test_name_servers_on_the_hosts_loopback_are_of_no_use(tmp_path: Path) -> None:
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("# a forwarder\nnameserver 127.0.0.53\nnameserver nonsense\nsearch example.org\n")
    real.write_text("nameserver 192.0.2.53\nnameserver 2001:db8::53\n")
    assert passt.name_servers([stub, real]) == ["192.0.2.53"]
    assert passt.name_servers([stub]) == []
    assert passt.name_servers([tmp_path / "none"]) == []


def test_limits_hold_in_both_directions() -> None:
    lines = shaping.commands(100).splitlines()
    assert [line.split()[3] for line in lines] == ["vm0", "up0"]
    assert all("rate 100mbit burst 131072 " in line for line in lines)
    assert "burst 12500000 " in shaping.commands(10_000)
