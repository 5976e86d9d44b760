"""`insula firewall` as people type it, and the client below it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from insula.base.errors import InsulaError, InvalidInput
from insula.cli.program import program
from insula.client import Client
from insula.domain.firewall import Direction, Peer, PeerKind, PortRange, Traffic


def insula(*words: str) -> Result:
    """Run it; its output on both streams is in `output`. Raises its error."""
    done = CliRunner().invoke(program, words, standalone_mode=False)
    if isinstance(done.exception, InsulaError):
        raise done.exception
    assert done.exception is None, done.exception
    return done


def test_firewalls_from_the_command_line(client: Client) -> None:
    insula("create", "web1", "--image", "tiny", "--plan", "micro-1", "--no-own-key", "--tag", "web")
    assert "No firewall" in insula("firewall", "list").output
    assert "firewall allow web" in insula("firewall", "create", "web", "--to", "web1").output
    assert "accept tcp 22, 8000-8999" in insula("firewall", "allow", "web", "--tcp", "22,8000-8999").output
    insula("firewall", "deny", "web", "--peer", "192.0.2.0/24", "--peer", "tag:evil", "--at", "1")
    insula("firewall", "deny", "web", "--out", "--udp", "all")
    shown = insula("firewall", "show", "web").output
    assert "web1" in shown
    assert [line.split()[:3] for line in shown.splitlines() if line[:1].isdigit()] == [
        ["1", "inbound", "drop"],
        ["2", "inbound", "accept"],
        ["3", "outbound", "drop"],
    ]
    found = client.firewalls.get("web")
    assert found.rules[0].peers == (Peer(PeerKind.PREFIX, "192.0.2.0/24"), Peer(PeerKind.TAG, "evil"))
    assert found.rules[1].ports == (PortRange(22, 22), PortRange(8000, 8999))
    assert (found.rules[2].direction, found.rules[2].traffic) == (Direction.OUTBOUND, Traffic.UDP)

    asked = insula("firewall", "test", "web1", "--from", "198.51.100.7", "--port", "22").output
    assert asked == "It passes. Rule 2 of web: accept tcp 22, 8000-8999\n"
    asked = insula("firewall", "test", "web1", "--to", "198.51.100.7", "--port", "53", "--udp").output
    assert asked == "It is dropped. Rule 3 of web: drop udp\n"
    assert json.loads(insula("firewall", "test", "web1", "--from", "198.51.100.7", "--icmp", "--json").output) == {
        "passes": False,
        "stage": "inbound",
        "firewall": "web",
        "rule": 0,
        "why": "No rule matches, and web drops inbound by default",
    }
    insula("firewall", "remove-rule", "web", "3")
    assert "nobody" in insula("firewall", "lift", "web", "--to", "web1").output
    assert "tag:web" in insula("firewall", "apply", "web", "--tag", "web").output
    assert "inbound accept" in insula("firewall", "set", "web", "--inbound", "accept", "--name", "www").output
    assert "tag:web" in insula("firewall", "list").output
    insula("firewall", "delete", "www")
    assert client.firewalls.list() == []
    assert "10.42." in insula("show", "web1").output
    insula("delete", "web1", "--yes")


def test_what_makes_no_sense_is_told(client: Client) -> None:
    insula("firewall", "create", "odd")
    for words in (
        ("allow", "odd", "--tcp", "22", "--icmp"),
        ("allow", "odd", "--tcp", "22-x"),
        ("allow", "odd", "--tcp", "70000"),
        ("allow", "odd", "--peer", "firewall:none"),
        ("test", "odd"),
        ("test", "odd", "--from", "a", "--to", "b"),
    ):
        with pytest.raises(InvalidInput):
            insula("firewall", *words)
    assert client.firewalls.get("odd").rules == ()
    client.firewalls.delete("odd")
