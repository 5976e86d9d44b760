"""`insula image publish` and its kin as people type them, and the client below them."""

from __future__ import annotations

import json

import pytest

from insula.base.errors import Conflict, InvalidInput
from insula.client import Client
from tests.client.test_snapshot_commands import insula


def test_an_image_of_ones_own_from_the_command_line(client: Client) -> None:
    insula("create", "web1", "--image", "tiny", "--plan", "micro-1", "--no-own-key")
    insula("snapshot", "create", "web1", "first")
    assert "my-web@1 is ready" in insula("image", "publish", "web1", "--name", "my-web").output
    assert "my-web@2 is ready" in insula("image", "publish", "web1@first", "--name", "my-web").output
    snapshot = client.snapshots.get("first")
    assert "my-web@3 is ready" in insula("image", "publish", snapshot.id, "--name", "my-web").output
    lines = insula("image", "list").output.splitlines()
    assert [line.split()[0] for line in lines if "my-web" in line] == ["my-web@1", "my-web@2", "my-web@3"]

    insula("image", "deprecate", "my-web@3")
    assert client.images.get("my-web").version == "2"
    warned = insula("create", "web3", "--image", "my-web@3", "--plan", "micro-1", "--no-own-key").output
    assert "Warning: The image my-web@3 is deprecated" in warned
    insula("create", "web2", "--image", "my-web", "--plan", "micro-1", "--no-own-key")
    assert "my-web@2" in insula("show", "web2").output
    assert "my-web@2" in insula("list").output
    insula("image", "deprecate", "my-web@3", "--undo")
    assert client.images.get("my-web").version == "3"

    insula("project", "create", "staging")
    insula("image", "share", "my-web", "--project", "staging")
    assert "staging" in insula("image", "show", "my-web").output
    assert "my-web@3" in insula("--project", "staging", "image", "list").output
    insula("image", "unshare", "my-web", "--project", "staging")
    assert "my-web" not in insula("--project", "staging", "image", "list").output
    assert json.loads(insula("image", "share", "my-web", "--all", "--json").output)["shared_with_all"]
    with pytest.raises(InvalidInput, match="not clear with whom"):
        insula("image", "share", "my-web")

    with pytest.raises(Conflict, match="several versions"):
        insula("image", "delete", "my-web", "--yes")
    assert "its files stay" in insula("image", "delete", "my-web@2", "--yes").output
    insula("image", "delete", "my-web", "--all-versions", "--yes")
    assert "my-web" not in insula("image", "list").output
    assert client.instances.get("web2").image in insula("show", "web2").output, "its id is left of it"
