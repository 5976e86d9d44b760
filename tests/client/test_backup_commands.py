"""`insula backup` as people type it, and the client below it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from insula.base.errors import Conflict, InsulaError, InvalidInput
from insula.cli.program import program
from insula.client import Client


def insula(*words: str, status: int = 0) -> Result:
    """Run it; its output on both streams is in `output`. Raises its error."""
    done = CliRunner().invoke(program, words, standalone_mode=False)
    if isinstance(done.exception, InsulaError):
        raise done.exception
    assert done.exception is None, done.exception
    assert (done.return_value or 0) == status
    return done


def test_backups_from_the_command_line(client: Client, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    insula("create", "web1", "--image", "tiny", "--plan", "micro-1", "--no-own-key")
    assert "There is no backup store" in insula("backup", "store", "list").output
    added = insula("backup", "store", "add", "elsewhere", "--folder", str(place)).output
    key = insula("backup", "store", "key", "elsewhere").output.strip()
    assert key in added
    assert "Keep it elsewhere" in added
    assert "the guest had written all down for it" in insula("backup", "create", "web1", "--name", "first").output
    insula("backup", "create", "web1", "--name", "second", "--protect")
    lines = insula("backup", "list", "--instance", "web1").output.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "first", "second"]
    assert "first" in insula("backup", "show", "second").output, "changes since"
    assert "can be restored" in insula("backup", "drill", "second").output
    assert "failed" in insula("backup", "drill", "second", "--command", "exit 2", status=1).output
    assert "passed" in insula("backup", "show", "second").output
    assert "web2 is running" in insula("backup", "restore", "first", "--as", "web2", "--no-own-key").output
    insula("backup", "restore", "first", "--volume", "disk")
    assert client.volumes.get("disk").size_gib == client.backups.get("first").size_gib
    with pytest.raises(InvalidInput, match="not clear"):
        insula("backup", "restore", "first")
    with pytest.raises(Conflict, match="protected"):
        insula("backup", "delete", "second", "--yes")
    insula("backup", "unprotect", "second")
    insula("backup", "rename", "second", "last")
    assert "is whole" in insula("backup", "store", "check", "elsewhere", "--read-data").output
    assert "Nothing is lost" in insula("backup", "store", "repair", "elsewhere").output
    insula("backup", "delete", "first", "--yes")
    assert "are free again" in insula("backup", "store", "prune", "elsewhere").output
    assert "backup stays" in insula("delete", "web1", "--yes").output
    insula("delete", "web2", "--yes")
    assert "stay in" in insula("backup", "store", "remove", "elsewhere", "--yes").output
    assert "There is no backup" in insula("backup", "list").output
    (tmp_path / "key").write_text(f"{key}\n")
    opened = insula("backup", "store", "add", "again", "--folder", str(place), "--recovery-key", str(tmp_path / "key"))
    assert "1 backups were found" in opened.output
    (found,) = json.loads(insula("backup", "list", "--json").output)
    assert found["instance_name"] == "web1"
    assert "0 backups are new" in insula("backup", "import", "again").output
    insula("backup", "restore", found["name"], "--as", "web3", "--no-own-key")
    insula("delete", "web3", "--yes")


def test_schedules_from_the_command_line(client: Client, tmp_path: Path) -> None:
    insula("create", "web4", "--image", "tiny", "--plan", "micro-1", "--no-own-key")
    client.backups.stores.add("daily", "folder", path=str(tmp_path))
    assert "There is no schedule" in insula("backup", "schedule", "list").output
    words = ["--store", "daily", "--every", "daily", "--at", "04:30", "--keep-daily", "7", "--drill", "weekly"]
    assert "7 days" in insula("backup", "schedule", "web4", *words).output
    listed = insula("backup", "schedule", "list").output
    assert "daily 04:30" in listed
    assert "weekly" in insula("backup", "schedule", "web4").output
    with pytest.raises(InvalidInput, match="no time of the day"):
        insula("backup", "schedule", "web4", "--store", "daily", "--every", "daily", "--at", "25:00")
    insula("backup", "schedule", "web4", "--off")
    assert client.backups.schedules.list() == []
    insula("delete", "web4", "--yes")
    client.backups.stores.remove("daily")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--folder", "/a", "--s3", "aws"], "not clear where"),
        ([], "not clear where"),
        (["--ssh", "nowhere"], "not a place"),
        (["--ssh", "user@host/path", "--identity", "/etc/hostname"], "is not known"),
    ],
)
def test_places_that_are_none(words: list[str], what: str, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=what):
        insula("backup", "store", "add", "place", *words)
