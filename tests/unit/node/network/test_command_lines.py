"""What the network's programs are told."""

from __future__ import annotations

from insula.node.network import slirp


def test_slirp_keeps_guests_from_the_hosts_loopback() -> None:
    argv = slirp.command_line("/usr/bin/slirp4netns", 7)
    assert {"--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"} <= set(argv)
    assert argv[-2:] == ["{pid}", "up0"]
