"""`insula network` as people type it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from insula.base.errors import Conflict, InsulaError
from insula.cli.program import program
from insula.client import Client


def insula(*words: str) -> str:
    """What it prints on both streams. Raises its error."""
    done = CliRunner().invoke(program, words, standalone_mode=False)
    if isinstance(done.exception, InsulaError):
        raise done.exception
    assert done.exception is None, done.exception
    return done.output


def test_networks_from_the_command_line(client: Client) -> None:
    assert "No network" in insula("network", "list")
    assert "10.7.0.0/24" in insula("network", "create", "backend", "--ipv4", "10.7.0.0/24", "--no-gateway")
    insula("create", "db1", "--image", "tiny", "--plan", "micro-1", "--no-own-key", "--network", "backend")
    assert "10.7.0.16" in insula("show", "db1")
    lines = [line.split() for line in insula("network", "list").splitlines()]
    assert [(line[0], line[1], line[3], line[4]) for line in lines[1:]] == [
        ("default", "10.42.0.0/16", "yes", "0"),
        ("backend", "10.7.0.0/24", "no", "1"),
    ]
    assert insula("network", "set", "backend", "--gateway") == "Network backend leads outside\n"
    insula("network", "set", "backend", "--no-gateway")
    insula("network", "join", "backend", "default")
    lines = [line.split() for line in insula("network", "list").splitlines()]
    assert [line[5] for line in lines[1:]] == ["backend", "default"]
    insula("network", "part", "default", "backend")
    assert client.networks.joined() == []
    with pytest.raises(Conflict, match="in use"):
        insula("network", "delete", "backend")
    assert "db1 is in default as well: 10.42.0." in insula("network", "attach", "db1", "default")
    assert len(client.instances.get("db1").ports) == 2
    assert insula("network", "detach", "db1", "default") == "db1 is not in default any more\n"
    insula("delete", "db1", "--yes")
    assert insula("network", "delete", "backend") == "Network backend is deleted\n"
    assert [each["name"] for each in json.loads(insula("network", "list", "--json"))] == ["default"]
    assert client.networks.get("default").gateway
