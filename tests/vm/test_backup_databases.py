"""A backup of a Debian whose databases are at work is restored by a drill, and both are whole there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.private_service import PrivateService

from .test_fork_databases import _BEGIN, _CHECK, _LOAD, _RECOVER, _TOOLS, _UNPACK, _WHOLE, at_work, databases, run

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="insula-store-", dir="/var/tmp") as name:
        yield Path(name)


def test_databases_under_load_are_whole_in_a_restored_backup(elsewhere: Path) -> None:
    with PrivateService("qemu", images=("debian-12",)) as service, service.client(timeout_s=900) as client:
        wish = client.instances.create("db", image="debian-12", plan="entry-1", memory_mib=512)
        client.operations.wait(wish.id, timeout_s=900)
        client.guest.write_file("db", "/root/databases.tar.gz", [databases()])
        for script in (_UNPACK, _BEGIN, _LOAD):
            run(client, "db", script)
        client.guest.write_file("db", "/root/check", [(_TOOLS + _RECOVER + _CHECK).encode()])
        client.backups.stores.add("elsewhere", "folder", path=str(elsewhere))
        at_work(client, "db")
        first = client.operations.wait(client.backups.create("db").id, timeout_s=900)
        at_work(client, "db")
        second = client.operations.wait(client.backups.create("db").id, timeout_s=900)
        at_work(client, "db")
        assert first.result is not None
        assert second.result is not None
        assert [done.result["consistency"] for done in (first, second) if done.result] == ["filesystem"] * 2
        assert second.result["based_on"] == first.target
        assert second.result["read_bytes"] < first.result["read_bytes"] / 2
        drill = client.operations.wait(client.backups.drill(second.target, "sh /root/check").id, timeout_s=1800).result
        assert drill is not None
        assert drill["passed"], drill
        assert drill["output"].split()[-len(_WHOLE) :] == _WHOLE
        (noted,) = client.backups.get(second.target).drills
        assert noted.passed
        assert [one.name for one in client.instances.list()] == ["db"]
