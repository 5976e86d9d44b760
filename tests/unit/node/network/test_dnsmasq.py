"""What dnsmasq is told, and when it has to begin anew."""

from __future__ import annotations

from dataclasses import replace

from insula.domain.instance import PortForward
from insula.domain.network import Forward, Member, Network, Space
from insula.domain.port import Port
from insula.node.network.counting import counts_in, traffic_of
from insula.node.network.dnsmasq import files_for, needs_restart
from insula.node.network.doors import doors_of
from insula.protocol.network import PortTraffic, Traffic

_NETWORK = Network("net_1", 7, "10.1.0.0/24", "fd00:1::/64")
_PORT = Port("prt_1", 3, "ins_1", "net_1", "02:00:00:00:00:01", "10.1.0.5", "fd00:1::5")
_SPACE = Space("prj_1", (_NETWORK,), (Member("ins_1", "web1"),), (_PORT,))


def test_a_card_has_a_reservation_and_a_name() -> None:
    files = files_for(_SPACE, "/there", ("192.0.2.53",))
    assert files.reservations == "02:00:00:00:00:01,id:*,10.1.0.5,[fd00:1::5],web1,12h\n"
    assert files.hosts == "10.1.0.5 web1.internal web1\nfd00:1::5 web1.internal web1\n"
    lines = files.configuration.splitlines()
    assert "bridge-interface=n7,p7-*" in lines
    assert "server=192.0.2.53" in lines


def test_newcomers_need_no_new_beginning_and_heirs_do() -> None:
    before = files_for(_SPACE, "/there")
    newcomer = replace(_PORT, id="prt_2", number=4, mac="02:00:00:00:00:02", ipv4="10.1.0.6", ipv6="")
    assert not needs_restart(before, files_for(replace(_SPACE, ports=(_PORT, newcomer)), "/there"))
    assert needs_restart(before, files_for(replace(_SPACE, ports=(replace(newcomer, ipv4="10.1.0.5"),)), "/there"))
    assert needs_restart(before, files_for(replace(_SPACE, networks=(replace(_NETWORK, gateway=False),)), "/there"))


def test_forwards_of_one_number_come_in_by_different_doors() -> None:
    forwards = tuple(
        Forward("prt_1", PortForward(port, 80, address)) for port, address in ((1, "192.0.2.1"), (2, "127.0.0.1"))
    )
    doors = doors_of(replace(_SPACE, forwards=forwards))
    assert {door: forward.forward.guest_port for door, forward in doors.items()} == {("tcp", 80): 2, ("tcp", 49152): 1}


def test_counters_are_told_by_what_they_count() -> None:
    listing = (
        '{"nftables":[{"metainfo":{"version":"1"}},'
        '{"counter":{"family":"inet","name":"default_inbound_ins_1","table":"insula","handle":2,"packets":1,"bytes":60}}]}'
    )
    traffic = traffic_of(_SPACE, counts_in(listing), {"p7-3": (3, 342, 0, 0), "lo": (9, 9, 9, 9)})
    assert traffic.ports == {"prt_1": PortTraffic(sent=Traffic(3, 300))}
    assert traffic.dropped == {"ins_1": Traffic(1, 60)}
