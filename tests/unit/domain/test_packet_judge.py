"""The judge's answers, with the rule that decides; what the packet filter really does is asked in tests/network."""

from __future__ import annotations

from dataclasses import replace

from insula.domain.firewall import Action, Direction, Firewall, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.network import Member, Network, Space
from insula.domain.packet_judge import Decision, Judge, Packet, Stage
from insula.domain.port import Port

_RED, _BLUE = Network("net_red", 1, "10.1.0.0/24"), Network("net_blue", 2, "10.2.0.0/24", gateway=False)
_PORTS = tuple(
    Port(f"prt_{number}", number, f"ins_{number}", network.id, f"02:00:00:00:00:0{number}", address)
    for number, network, address in ((1, _RED, "10.1.0.5"), (2, _RED, "10.1.0.6"), (3, _BLUE, "10.2.0.5"))
)
_MEMBERS = (Member("ins_1", "one", ("web",)), Member("ins_2", "two"), Member("ins_3", "three"))
_SPACE = Space("prj_1", (_RED, _BLUE), _MEMBERS, _PORTS)
_SSH = Packet("10.1.0.5", "10.1.0.6", Traffic.TCP, 22, "prt_1")


def _with_rules(*rules: Rule, **parts: object) -> Judge:
    firewall = replace(Firewall("fwl_1", rules, ("ins_2",)), **parts)  # type: ignore[arg-type]
    return Judge(replace(_SPACE, firewalls=(firewall,)))


def test_without_firewalls_those_of_a_network_reach_each_other_only() -> None:
    judge = Judge(_SPACE)
    assert judge.decide(_SSH) == Decision(True, Stage.PASSED)
    assert judge.decide(replace(_SSH, source="10.1.0.9")) == Decision(False, Stage.GUARD)
    assert judge.decide(replace(_SSH, destination="10.2.0.5")) == Decision(False, Stage.REACH)
    assert judge.decide(replace(_SSH, destination="10.1.0.77")) == Decision(False, Stage.REACH)
    assert judge.decide(replace(_SSH, destination="198.51.100.1")).passes
    outward = Packet("10.2.0.5", "198.51.100.1", Traffic.TCP, 22, "prt_3")
    assert judge.decide(outward) == Decision(False, Stage.REACH)
    assert judge.decide(Packet("198.51.100.1", "10.1.0.5", Traffic.TCP, 22)).passes


def test_the_first_rule_that_matches_decides_and_is_named() -> None:
    drop = Rule("rul_drop", Direction.INBOUND, Action.DROP, peers=(Peer(PeerKind.TAG, "web"),))
    take = Rule("rul_take", Direction.INBOUND, traffic=Traffic.TCP, ports=(PortRange(20, 25),))
    assert _with_rules(drop, take).decide(_SSH) == Decision(False, Stage.INBOUND, "fwl_1", "rul_drop")
    assert _with_rules(take, drop).decide(_SSH) == Decision(True, Stage.INBOUND, "fwl_1", "rul_take")
    assert _with_rules(take).decide(replace(_SSH, port=26)) == Decision(False, Stage.INBOUND, "fwl_1")
    assert _with_rules(take, inbound_default=Action.ACCEPT).decide(replace(_SSH, port=26)).passes


def test_the_sender_is_asked_before_the_receiver() -> None:
    judge = _with_rules(instances=("ins_1",), outbound_default=Action.DROP)
    assert judge.decide(_SSH) == Decision(False, Stage.OUTBOUND, "fwl_1")


def test_peers_are_prefixes_tags_networks_and_firewalls() -> None:
    for peer, passes in (
        (Peer(PeerKind.PREFIX, "10.1.0.4/30"), True),
        (Peer(PeerKind.PREFIX, "10.1.0.5"), True),
        (Peer(PeerKind.PREFIX, "10.9.0.0/16"), False),
        (Peer(PeerKind.TAG, "web"), True),
        (Peer(PeerKind.TAG, "db"), False),
        (Peer(PeerKind.NETWORK, "net_red"), True),
        (Peer(PeerKind.NETWORK, "net_blue"), False),
        (Peer(PeerKind.FIREWALL, "fwl_1"), False),
    ):
        judge = _with_rules(Rule("rul_1", Direction.INBOUND, peers=(peer,)))
        assert judge.decide(_SSH).passes is passes, peer
