"""`insula forward` as people type it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from insula.base.errors import InsulaError, InvalidInput, NotFound
from insula.cli.program import program
from insula.client import Client


def insula(*words: str) -> str:
    """What it prints on both streams. Raises its error."""
    done = CliRunner().invoke(program, words, standalone_mode=False)
    if isinstance(done.exception, InsulaError):
        raise done.exception
    assert done.exception is None, done.exception
    return done.output


def test_ports_are_opened_and_closed(client: Client) -> None:
    insula("create", "web1", "--image", "tiny", "--plan", "micro-1", "--no-own-key")
    assert insula("forward", "add", "web1", "0.0.0.0:21080:80") == "0.0.0.0:21080 leads to port 80/tcp of web1\n"
    insula("forward", "add", "web1", "21053:53/udp")
    lines = insula("forward", "list", "web1").splitlines()
    assert [line.split()[1:] for line in lines] == [["GUEST", "PROTOCOL"], ["22", "tcp"], ["80", "tcp"], ["53", "udp"]]
    with pytest.raises(NotFound):
        insula("forward", "remove", "web1", "21053")
    assert "no more" in insula("forward", "remove", "web1", "21053", "--udp")
    assert [each["guest_port"] for each in json.loads(insula("forward", "list", "web1", "--json"))] == [22, 80]
    with pytest.raises(InvalidInput):
        insula("forward", "add", "web1", "80:x")
    assert [each.guest_port for each in client.instances.get("web1").forwards] == [22, 80]
    insula("delete", "web1", "--yes")
