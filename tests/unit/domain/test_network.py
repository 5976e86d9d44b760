"""What a space may be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from insula.base.errors import InvalidInput
from insula.domain.firewall import Direction, Firewall, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.instance import PortForward
from insula.domain.network import Forward, Member, Network, PublicAddress, Space, check, firewalls_by_instance, sharing
from insula.domain.port import Port

RED = Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64")
PORT = Port("prt_1", 1, "ins_1", "net_red", "02:00:00:00:00:01", "10.1.0.5", "fd00:1::5")
SPACE = Space("prj_1", (RED,), (Member("ins_1", "web1", ("web",)),), (PORT,))


def _rule(**parts: object) -> Firewall:
    return Firewall("fwl_1", (replace(Rule("rul_1", Direction.INBOUND), **parts),))  # type: ignore[arg-type]


def test_a_sound_space_passes() -> None:
    check(SPACE)
    check(Space("prj_2"))


@pytest.mark.parametrize(
    ("space", "told"),
    [
        (replace(SPACE, id="x; flush ruleset"), "no identifier"),
        (replace(SPACE, networks=(RED, replace(RED, id="net_2"))), "number 1 is there twice"),
        (replace(SPACE, networks=(RED, Network("net_2", 2, "10.1.0.128/25"))), "overlap"),
        (replace(SPACE, networks=(RED, Network("net_2", 2, "169.254.0.0/24"))), "is not for networks"),
        (replace(SPACE, networks=(RED, Network("net_2", 2, "10.2.0.1/24"))), "no prefix for a network"),
        (replace(SPACE, networks=(RED, Network("net_2", 2, "fd00:2::/64"))), "no prefix for a network"),
        (replace(SPACE, networks=(replace(RED, mtu=500),)), "MTU of 500"),
        (replace(SPACE, joined=(("net_red", "net_blue"),)), "cannot be joined"),
        (replace(SPACE, members=()), "unknown network or instance"),
        (replace(SPACE, members=(Member("ins_1", "a b"),)), "no host name"),
        (replace(SPACE, ports=(replace(PORT, mac="03:00:00:00:00:01"),)), "MAC address"),
        (replace(SPACE, ports=(replace(PORT, ipv4="10.1.0.1"),)), "'10.1.0.1' is no address"),
        (replace(SPACE, ports=(replace(PORT, ipv4="10.1.0.255"),)), "'10.1.0.255' is no address"),
        (replace(SPACE, ports=(replace(PORT, ipv4="10.2.0.5"),)), "'10.2.0.5' is no address"),
        (replace(SPACE, ports=(replace(PORT, ipv6="fd00:1:0::5"),)), "'fd00:1:0::5' is no address"),
        (replace(SPACE, ports=(PORT, replace(PORT, id="prt_2", number=2))), "mac 02:00:00:00:00:01 is there twice"),
        (replace(SPACE, ports=(replace(PORT, also=("10.5.0.0/8",)),)), "is no prefix"),
        (replace(SPACE, firewalls=(_rule(ports=(PortRange(1, 2),)),)), "which has no ports"),
        (replace(SPACE, firewalls=(_rule(traffic=Traffic.TCP, ports=(PortRange(9, 2),)),)), "ports 9 to 2"),
        (replace(SPACE, firewalls=(_rule(peers=(Peer(PeerKind.PREFIX, "all"),)),)), "is no prefix"),
        (
            replace(SPACE, firewalls=(_rule(peers=(Peer(PeerKind.NETWORK, "net_2"),)),)),
            "'net_2' in rule rul_1 is unknown",
        ),
        (replace(SPACE, firewalls=(_rule(id='x" accept'),)), "no identifier"),
        (replace(SPACE, forwards=(Forward("prt_9", PortForward(22, 2222)),)), "prt_9 is no port"),
        (replace(SPACE, forwards=(Forward("prt_1", PortForward(22, 2222)),) * 2), "is there twice"),
        (replace(SPACE, addresses=(PublicAddress("203.0.113.0/30", "prt_1"),)), "is no address"),
    ],
)
def test_contradictions_and_what_is_no_name_are_refused(space: Space, told: str) -> None:
    with pytest.raises(InvalidInput, match="networks cannot be made") as caught:
        check(space)
    assert told in caught.value.why
    with pytest.raises(InvalidInput):
        check(space, SPACE)


def test_an_equal_space_shares_the_objects_of_the_known_one() -> None:
    firewall = Firewall("fwl_1", (Rule("rul_1", Direction.INBOUND),), ("ins_1",))
    known = replace(SPACE, firewalls=(firewall,))
    again = replace(
        known,
        ports=(replace(PORT),),
        firewalls=(replace(firewall), Firewall("fwl_2")),
    )
    shared = sharing(again, known)
    assert shared == again
    assert shared.firewalls[0] is firewall
    assert shared.ports[0] is PORT


def test_firewalls_apply_by_name_and_by_tag_in_the_projects_order() -> None:
    one, two, three = Firewall("fwl_1", tags=("web",)), Firewall("fwl_2"), Firewall("fwl_3", instances=("ins_1",))
    space = replace(SPACE, firewalls=(one, two, three))
    assert firewalls_by_instance(space) == {"ins_1": (one, three)}
