"""Databases at work in a running Debian are whole in every fork, with its memory and from its disk alone."""

from __future__ import annotations

import time

import pytest

from insula.client import Client
from tests.private_service import PrivateService

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

_INSTALL = """
export DEBIAN_FRONTEND=noninteractive
apt-get -q update > /dev/null && apt-get -q -y install --no-install-recommends postgresql postgresql-contrib sqlite3
"""

# Money goes from one account to another: whenever it is looked at, the sum is the same.
_WRITER = """
import itertools, random, sqlite3
db = sqlite3.connect("/root/bank.db", isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, money INTEGER)")
db.execute("CREATE TABLE note (at INTEGER PRIMARY KEY, text TEXT)")
db.executemany("INSERT INTO account VALUES (?, 1000)", [(n,) for n in range(100)])
for turn in itertools.count():
    one, other = random.sample(range(100), 2)
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE account SET money = money - 7 WHERE id = ?", (one,))
    db.execute("UPDATE account SET money = money + 7 WHERE id = ?", (other,))
    db.execute("INSERT INTO note VALUES (?, ?)", (turn, "x" * (turn % 500)))
    db.execute("COMMIT")
"""
_LOAD = """
set -e
as() { setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/tmp "$@"; }
as createdb bench
as pgbench -q -i -s 1 bench
as psql -q bench -c "CREATE EXTENSION amcheck"
setsid setpriv --reuid=postgres --regid=postgres --init-groups pgbench -n -c 2 -T 3600 bench > /root/pgbench.log 2>&1 &
setsid python3 /root/writer.py > /root/writer.log 2>&1 &
"""
_PROGRESS = """
as() { setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/tmp "$@"; }
as psql -Atc "SELECT count(*) FROM pgbench_history" bench
sqlite3 /root/bank.db "SELECT count(*) FROM note"
"""
_SUMS = """
as() { setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/tmp "$@"; }
pkill pgbench; pkill -f '[w]riter.py'; sleep 1
as /usr/lib/postgresql/15/bin/pg_amcheck --heapallindexed bench || exit 1
as psql -Atc "SELECT count(DISTINCT sum) FROM (SELECT sum(abalance) FROM pgbench_accounts UNION ALL
    SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL
    SELECT sum(delta) FROM pgbench_history) AS sums" bench
sqlite3 /root/bank.db "PRAGMA integrity_check; SELECT sum(money) FROM account"
"""
_WHOLE = ["1", "ok", "100000"]


def run(client: Client, instance: str, script: str, timeout_s: float = 240.0) -> list[str]:
    done = client.guest.execute(instance, ["/bin/sh", "-c", script], timeout_s=timeout_s)
    assert done.exit_code == 0, (done.stdout + done.stderr).decode("utf-8", "replace")[-2000:]
    return done.stdout.decode().split()


def at_work(client: Client, instance: str) -> None:
    """Returns when both databases have committed something new."""
    before = [int(count) for count in run(client, instance, _PROGRESS)]
    for _ in range(30):
        time.sleep(1)
        now = [int(count) for count in run(client, instance, _PROGRESS)]
        if all(new > old for new, old in zip(now, before, strict=True)):
            return
    raise AssertionError(f"nobody writes: {before}")


def test_databases_under_load_are_whole_in_every_fork() -> None:
    with PrivateService("qemu") as service, service.client(timeout_s=600) as client:
        client.operations.wait(client.images.prepare("debian-12").id, timeout_s=1800)
        wish = client.instances.create("parent", image="debian-12", plan="entry-1")
        parent = client.operations.wait(wish.id, timeout_s=600).target
        run(client, parent, _INSTALL, timeout_s=900)
        client.guest.write_file(parent, "/root/writer.py", [_WRITER.encode()])
        run(client, parent, _LOAD)
        at_work(client, parent)
        for turn in range(2):
            names = [f"fork-{turn}-{number}" for number in range(2)]
            done = client.operations.wait(client.instances.fork(parent, count=2, names=names).id, timeout_s=600)
            assert done.result is not None
            on, off = (child["id"] for child in done.result["children"])
            # One goes on with what its databases had in memory; the other one loses its power and has its disk alone.
            assert run(client, on, _SUMS) == _WHOLE
            client.operations.wait(client.instances.stop(off, graceful_s=0).id, timeout_s=120)
            client.operations.wait(client.instances.start(off).id, timeout_s=600)
            assert run(client, off, "pg_lsclusters -h; exit 0")[3] == "online"
            assert run(client, off, _SUMS) == _WHOLE
            for child in (on, off):
                client.operations.wait(client.instances.delete(child).id, timeout_s=120)
        at_work(client, parent)
