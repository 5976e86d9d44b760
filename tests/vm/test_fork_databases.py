"""Databases at work in a running guest are whole in every fork: with its memory, and from its disk alone."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from insula.client import Client
from tests.private_service import PrivateService

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

_BESIDE = (Path("/usr/bin/sqlite3"), Path("/usr/bin/setpriv"))
_USED = ("postgres", "initdb", "pg_ctl", "createdb", "psql", "pgbench", "pg_amcheck")
_LIBRARY = re.compile(r"=> (/\S+/(?!(?:libc|libm|libresolv)\.so)\S+)")  # those of the C library are the guest's own

_TOOLS = """
set -e
export PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
as="setpriv --reuid=70 --regid=70 --clear-groups env HOME=/tmp"
server() { $as pg_ctl -s -w -t 300 -D /var/lib/bench -l /tmp/postgres.log "$@"; }
"""
_UNPACK = "tar -xzf /root/databases.tar.gz -C / && rm /root/databases.tar.gz"
_BEGIN = """
echo 'postgres:x:70:70::/tmp:/bin/sh' >> /etc/passwd
mkdir -p /var/lib/bench
chown 70:70 /var/lib/bench
$as initdb -D /var/lib/bench -A trust -E UTF8 --locale=C > /dev/null
{
    echo "listen_addresses = ''"
    echo "unix_socket_directories = '/tmp'"
} >> /var/lib/bench/postgresql.conf
sync # what is new in a file's last block would be zeros after a power cut, and no fork waits for it
server start
"""
# Money goes from one account to another: whenever it is looked at, the sum is the same.
_LOAD = """
$as createdb -h /tmp bench
$as pgbench -h /tmp -q -i -s 1 bench
$as psql -h /tmp -q bench -c "CREATE EXTENSION amcheck"
cat > /root/writer <<'END'
{
    echo "PRAGMA journal_mode=WAL;"
    echo "CREATE TABLE account (id INTEGER PRIMARY KEY, money INTEGER);"
    echo "CREATE TABLE note (at INTEGER PRIMARY KEY, text TEXT);"
    echo "WITH RECURSIVE n(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM n WHERE id < 99)"
    echo "    INSERT INTO account SELECT id, 1000 FROM n;"
    turn=0
    while :; do
        turn=$((turn + 1))
        echo "BEGIN IMMEDIATE;"
        echo "UPDATE account SET money = money - 7 WHERE id = $((RANDOM % 100));"
        echo "UPDATE account SET money = money + 7 WHERE id = $((RANDOM % 100));"
        echo "INSERT INTO note VALUES ($turn, hex(zeroblob($((turn % 250)))));"
        echo "COMMIT;"
    done
} | sqlite3 /root/bank.db
END
setsid sh /root/writer < /dev/null > /dev/null 2>&1 &
setsid $as pgbench -h /tmp -n -c 2 -T 3600 bench < /dev/null > /tmp/pgbench.log 2>&1 &
"""
# As the service of a distribution does at boot: whoever has its process id by now is not the server. It returns when
# the server has recovered.
_RECOVER = """
rm -f /var/lib/bench/postmaster.pid
server start || { cat /tmp/postgres.log; exit 1; }
"""
_PROGRESS = """
$as psql -h /tmp -At bench -c "SELECT count(*) FROM pgbench_history"
sqlite3 -cmd '.timeout 10000' /root/bank.db 'SELECT count(*) FROM note'
"""
_CHECK = """
$as pg_amcheck -h /tmp --heapallindexed bench
$as psql -h /tmp -At bench <<'END'
SELECT count(DISTINCT sum) FROM (SELECT sum(abalance) FROM pgbench_accounts UNION ALL
    SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL
    SELECT sum(delta) FROM pgbench_history) AS sums;
END
sqlite3 /root/bank.db 'PRAGMA integrity_check; SELECT sum(money) FROM account'
"""
_WHOLE = ["1", "ok", "100000"]


def databases() -> bytes:
    """This host's PostgreSQL and SQLite as an archive: in an emulated guest, installing them would take minutes."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    used = [*_BESIDE, *(programs / name for name in _USED)]
    linked = subprocess.run(["ldd", *map(str, used)], capture_output=True, text=True, timeout=60, check=True).stdout
    loaded = [path for path in programs.parent.glob("lib/*.so") if not path.name.startswith("llvmjit")]
    shared = Path("/usr/share/postgresql", programs.parent.name)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1, dereference=True) as file:
        for path in (*used, *sorted(set(map(Path, _LIBRARY.findall(linked)))), *loaded, shared):
            file.add(path)
    return archive.getvalue()


def run(client: Client, instance: str, script: str) -> list[str]:
    done = client.guest.execute(instance, ["/bin/sh", "-c", _TOOLS + script], timeout_s=300)
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


def forked(client: Client, parent: str, *names: str) -> list[str]:
    done = client.operations.wait(client.instances.fork(parent, names=names).id, timeout_s=600)
    assert done.result is not None
    return [child["id"] for child in done.result["children"]]


def test_databases_under_load_are_whole_in_every_fork() -> None:
    with PrivateService("qemu", images=("tiny",)) as service, service.client(timeout_s=600) as client:
        wish = client.instances.create("parent", image="tiny", plan="entry-1", memory_mib=512)
        parent = client.operations.wait(wish.id, timeout_s=600).target
        client.guest.write_file(parent, "/root/databases.tar.gz", [databases()])
        for script in (_UNPACK, _BEGIN, _LOAD):
            run(client, parent, script)
        at_work(client, parent)
        # One goes on with what its databases had in memory; the other one loses its power and has its disk alone.
        on, off = forked(client, parent, "on", "off")
        at_work(client, on)
        assert run(client, on, _CHECK) == _WHOLE
        client.operations.wait(client.instances.stop(off, graceful_s=0).id, timeout_s=120)
        client.operations.wait(client.instances.start(off).id, timeout_s=600)
        run(client, off, "test -s /etc/dropbear/dropbear_ed25519_host_key")
        run(client, off, _RECOVER)
        assert run(client, off, _CHECK) == _WHOLE
        for child in (on, off):
            client.operations.wait(client.instances.delete(child).id, timeout_s=120)
        at_work(client, parent)
