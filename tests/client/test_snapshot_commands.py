"""`insula snapshot` and `insula create --snapshot` as people type them, and the client below them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from insula.base.errors import Conflict, InsulaError, InvalidInput
from insula.cli.program import program
from insula.client import Client


def insula(*words: str) -> Result:
    """Run it; its output on both streams is in `output`. Raises its error."""
    done = CliRunner().invoke(program, words, standalone_mode=False)
    if isinstance(done.exception, InsulaError):
        raise done.exception
    assert done.exception is None, done.exception
    return done


def test_a_snapshot_from_the_command_line(client: Client) -> None:
    insula("create", "web1", "--image", "tiny", "--plan", "micro-1", "--no-own-key")
    assert "the guest had written all down for it" in insula("snapshot", "create", "web1", "first").output
    assert "web1-1" in insula("snapshot", "create", "web1", "--memory", "--tag", "a", "--protect").output
    lines = insula("snapshot", "list", "--instance", "web1").output.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "first", "web1-1"]
    assert lines[2].startswith("  web1-1"), "it went on from the first"
    shown = insula("snapshot", "show", "web1-1").output
    assert "disk and memory" in shown
    assert "first" in shown
    with pytest.raises(InvalidInput, match="Nothing was done"):
        insula("snapshot", "revert", "first")
    assert "web1 is what it was at first, and running" in insula("snapshot", "revert", "first", "--yes").output
    insula("create", "web2", "--snapshot", "web1-1", "--no-own-key")
    assert [phase.name for phase in client.instances.get("web2").boot_phases] == ["renew", "ready"]
    with pytest.raises(Conflict, match="protected"):
        insula("snapshot", "delete", "web1-1", "--yes")
    insula("snapshot", "unprotect", "web1-1")
    insula("snapshot", "rename", "web1-1", "second")
    assert insula("snapshot", "tag", "second", "b", "--remove", "a").output.split() == ["b"]
    found = json.loads(insula("snapshot", "list", "--json").output)
    assert [(each["name"], each["kind"]) for each in found] == [("first", "disk"), ("second", "memory")]
    assert found[1]["parent_id"] == found[0]["id"] == client.instances.get("web1").snapshot_id
    for name in ("first", "second"):
        insula("snapshot", "delete", name, "--yes")
    assert client.snapshots.list() == []
    assert "There is no snapshot" in insula("snapshot", "list").output


def test_the_client_takes_ids_as_well(client: Client) -> None:
    made = client.operations.wait(client.instances.create("web3", image="tiny", plan="micro-1").id)
    done = client.operations.wait(client.snapshots.create(made.target, kind="memory").id)
    assert done.result is not None
    assert set(done.result) == {"consistency", "size_bytes", "paused_ms", "frozen_ms"}
    snapshot = client.snapshots.get(done.target)
    assert snapshot.name == "web3-1"
    reverted = client.operations.wait(client.instances.revert(made.target, snapshot.id, disk_only=True).id)
    assert reverted.result is not None
    assert client.snapshots.protect(snapshot.id).protected
    assert not client.snapshots.protect(snapshot.id, False).protected
    client.operations.wait(client.snapshots.delete(snapshot.id).id)
