"""`./test --chaos backup --image tiny --rounds 200`: exits 0 when every backup is whole or gone, and nothing is left.

In each round something is killed with -9 at a random moment of a backup, restore, drill, delete or prune: the service,
the machine, what reads its disk; or the store goes away in the middle.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from insula.base.errors import Conflict, InsulaError
from insula.base.run import SEARCH_PATH
from insula.client import Client
from insula.domain.backup import Backup, BackupState
from insula.domain.instance import InstanceState
from insula.domain.operation import Operation, OperationState
from tests.chaos.orphans import orphans, processes_of
from tests.private_service import PrivateService

_SETTLE_S = 300.0
_LOCK_S = 60.0
_OLD_S = 3600.0
_KILL_WITHIN_S = 2.5
_MOST_BACKUPS = 6
_READ_EVERY, _FILES_EVERY, _DRILL_EVERY = 5, 10, 50
_HOST = "web1"
_FSCK = shutil.which("e2fsck", path=SEARCH_PATH) or "e2fsck"


@dataclass
class Tally:
    """What became of the rounds; `torn` and `leaked` say in words what went wrong."""

    rounds: int = 0
    torn: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return f"whole+gone={self.rounds - self.bad_rounds} torn={len(self.torn)} leaked={len(self.leaked)}"

    bad_rounds: int = 0


class Rounds:
    """One instance that writes, one store, and what is done to both."""

    def __init__(self, service: PrivateService, store: Path, image: str, seed: int) -> None:
        self.service = service
        self.store = store
        self.image = image
        self.tally = Tally()
        self._random = random.Random(seed)
        self._sums: dict[str, str] = {}  # backup id → the checksum of what was written before it

    def run(self, rounds: int) -> Tally:
        with self.service.client() as client:
            made = client.instances.create(_HOST, image=self.image, plan="micro-1", cold=True)
            client.operations.wait(made.id, timeout_s=_SETTLE_S)
            client.backups.stores.add("elsewhere", "folder", path=str(self.store))
            written = self._write(client)
            self._note_sum(
                client, client.operations.wait(client.backups.create(_HOST).id, timeout_s=_SETTLE_S), written
            )
        for number in range(1, rounds + 1):
            self._round(number)
        self._end()
        return self.tally

    def _round(self, number: int) -> None:
        began, before = time.monotonic(), [*self.tally.torn, *self.tally.leaked]
        done = ""
        with self.service.client() as client:
            written = self._write(client)
            name, ask = self._choose(client)
            victim = self._random.choice(("service", "service", "machine", "reader", "store"))
            try:
                operation = ask()
            except Conflict as error:
                self.tally.torn.append(f"round {number}: {name} was refused: {error}")
                operation = None
            time.sleep(self._random.uniform(0.0, _KILL_WITHIN_S))
            self._strike(victim)
        with self.service.client() as client:
            self._settle(client)
            if operation is not None:
                ended = client.operations.get(operation.id)
                done = ended.state.value
                self._note_sum(client, ended, written)
            self._account(client, number)
            self._tidy(client)
        self.tally.rounds += 1
        news = [line for line in (*self.tally.torn, *self.tally.leaked) if line not in before]
        self.tally.bad_rounds += bool(news)
        self.tally.seen[f"{name} {done}"] += 1
        print(
            f"round {number}: {name}, {victim} struck, {done} ({time.monotonic() - began:.1f} s); {self.tally}",
            *news,
            sep="\n  ",
            flush=True,
        )

    def _write(self, client: Client) -> str:
        """Change some of the disk, synced; the checksum of what is there then."""
        size = self._random.randrange(1, 8) * 100_000
        script = (
            f"head -c {size} /dev/urandom > /root/data.new && mv /root/data.new /root/data && "
            "sha256sum /root/data > /root/sum && sync && cat /root/sum"
        )
        done = client.guest.execute(_HOST, ["/bin/sh", "-c", script], timeout_s=120)
        return done.stdout.decode().split()[0]

    def _choose(self, client: Client) -> tuple[str, Callable[[], Operation]]:
        whole = [each for each in client.backups.list() if each.state is BackupState.AVAILABLE]
        kind = self._random.choice(("backup", "backup", "backup", "restore", "delete", "prune", "drill"))
        if kind == "backup" or len(whole) < 2:
            return "backup", lambda: client.backups.create(_HOST)
        chosen, size_gib = self._random.choice(whole).id, whole[0].size_gib
        if kind == "restore":
            return kind, lambda: client.volumes.create("restored", size_gib, backup=chosen)
        if kind == "delete":
            return kind, lambda: client.backups.delete(chosen)
        if kind == "prune":
            return kind, lambda: client.backups.stores.prune("elsewhere")
        return kind, lambda: client.backups.drill(chosen, "cd /root && sha256sum -c sum")

    def _strike(self, victim: str) -> None:
        if victim == "service":
            self.service.kill()
            self.service.start()
            self.service.wait_until_it_answers()
        elif victim == "store":
            away = self.store.with_name("away")
            self.store.rename(away)
            time.sleep(self._random.uniform(0.05, 0.5))
            if self.store.exists():  # nothing may have been made where the store was
                self.tally.leaked.append(f"{self.store} was made anew")
                self.store.rename(self.store.with_name(f"strange-{time.monotonic_ns()}"))
            away.rename(self.store)
        else:
            word = "qemu-system" if victim == "machine" else "qemu-nbd"
            for pid, process in processes_of(self.service.home).items():
                if word in process.command:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def _settle(self, client: Client) -> None:
        """Wait until no operation is under way and the guest answers."""
        deadline = time.monotonic() + _SETTLE_S
        while True:
            waiting = [one for one in client.operations.list(limit=50) if not one.state.is_final]
            host = client.instances.get(_HOST)
            if not waiting and host.state is InstanceState.RUNNING and self._answers(client):
                return
            if not waiting and host.state in {InstanceState.STOPPED, InstanceState.FAILED}:
                with suppress(Conflict):
                    client.instances.start(_HOST)
            if time.monotonic() > deadline:
                raise AssertionError(f"{waiting or host} did not settle")
            time.sleep(0.1)

    def _answers(self, client: Client) -> bool:
        with suppress(InsulaError):
            return client.guest.execute(_HOST, ["true"], timeout_s=10).exit_code == 0
        return False

    def _note_sum(self, client: Client, ended: Operation, written: str) -> None:
        if ended.verb == "create_backup" and ended.state is OperationState.SUCCEEDED:
            self._sums[ended.target] = written
        if ended.state is OperationState.STUCK:
            self.tally.torn.append(f"{ended.verb} is stuck: {ended.error}")
        if ended.verb == "drill_backup" and ended.state is OperationState.SUCCEEDED:
            self._check_drill(ended)
        if ended.verb == "create_volume" and ended.state is OperationState.SUCCEEDED:
            client.operations.wait(client.volumes.delete("restored").id, timeout_s=_SETTLE_S)

    def _check_drill(self, ended: Operation) -> None:
        result = ended.result or {}
        killed = "machine" in str(result.get("problem")) or "ended" in str(result.get("problem"))
        if not result.get("passed") and not killed:
            self.tally.torn.append(f"drill of {ended.target_name}: {result.get('problem')} {result.get('output')}")

    def _account(self, client: Client, number: int) -> None:
        """Every backup that is listed is whole, none that is not listed is there, nothing is left of what was cut."""
        done = client.operations.wait(
            client.backups.stores.check("elsewhere", read_data=number % _READ_EVERY == 0).id, timeout_s=_SETTLE_S
        )
        found = done.result or {}
        if not found.get("is_whole"):
            self.tally.torn.append(f"round {number}: {found}")
        strange = client.backups.stores.import_backups("elsewhere")
        self.tally.leaked += [f"round {number}: {each.id} is in the store, not in the list" for each in strange]
        for each in client.backups.list():
            if each.state is not BackupState.AVAILABLE and not self._was_deleted(client, each):
                self.tally.torn.append(f"round {number}: {each.name} is {each.state}: {each.problem}")
            elif number % _FILES_EVERY == 0 and each.state is BackupState.AVAILABLE:
                self._compare(client, each, number)
        if number % _DRILL_EVERY == 0:
            newest = client.backups.list(state="available")[-1]
            operation = client.backups.drill(newest.id, "cd /root && sha256sum -c sum")
            self._check_drill(client.operations.wait(operation.id, timeout_s=_SETTLE_S))
        known = frozenset(one.id for one in client.instances.list())
        self.tally.leaked += [f"round {number}: {one}" for one in orphans(self.service.home, known)]
        self.tally.leaked += [f"round {number}: {one.what} {one.name}" for one in client.host.repair(remove=False)]
        self._look_for_rests(client, number)

    def _was_deleted(self, client: Client, each: Backup) -> bool:
        """Whether its deletion failed, which may be repeated."""
        if each.state is not BackupState.FAILED:
            return False
        last = client.operations.list(target=each.id)[0]
        if last.verb != "delete_backup":
            return False
        client.operations.wait(client.operations.retry(last.id).id, timeout_s=_SETTLE_S)
        return True

    def _compare(self, client: Client, each: Backup, number: int) -> None:
        content = hashlib.sha256(b"".join(client.backups.read_file(each.id, "/root/data"))).hexdigest()
        if content != self._sums.get(each.id):
            self.tally.torn.append(f"round {number}: {each.name} does not have what was written before it")
        copy = self.service.home / "node" / "backups" / "files" / each.id / "disk"
        checked = subprocess.run([_FSCK, "-fn", copy], check=False, capture_output=True, text=True, timeout=120)
        if checked.returncode != 0:
            self.tally.torn.append(f"round {number}: the file system in {each.name}: {checked.stdout[-500:]}")

    def _look_for_rests(self, client: Client, number: int) -> None:
        node = self.service.home / "node"
        points = list((node / "backups" / "points").glob("*.json"))
        if len(points) > 1:
            self.tally.leaked.append(f"round {number}: {len(points)} disks are kept for one instance and store")
        if self._locks():
            # One that could not be removed since the store was away must be in nobody's way.
            client.operations.wait(client.backups.stores.prune("elsewhere").id, timeout_s=_LOCK_S)
        held = self._locks()
        self.tally.leaked += [f"round {number}: lock {lock.name}" for lock in held]

    def _locks(self) -> list[Path]:
        """Without drafts, which bar nobody; :meth:`_end` looks whether they go."""
        return list((self.store / "locks").glob("[!.]*"))

    def _tidy(self, client: Client) -> None:
        """Keep the store small; what a failed deletion left is deleted."""
        for each in client.backups.list(state="available")[:-_MOST_BACKUPS]:
            client.operations.wait(client.backups.delete(each.id).id, timeout_s=_SETTLE_S)

    def _end(self) -> None:
        """Delete everything; then the store has its key and an index alone, and the host nothing."""
        with self.service.client() as client:
            for each in client.backups.list():
                client.operations.wait(client.backups.delete(each.id).id, timeout_s=_SETTLE_S)
            for path in self.store.rglob(".*"):  # what writers began who were killed counts as theirs for a while
                os.utime(path, (time.time() - _OLD_S, time.time() - _OLD_S))
            client.operations.wait(client.backups.stores.prune("elsewhere").id, timeout_s=_SETTLE_S)
            rest = [path for path in self.store.rglob("*") if path.is_file() and path.name != "config"]
            kept = [path for path in rest if path.parent.name not in {"keys", "index"}]  # an index says: no packs
            self.tally.leaked += [f"{path} is in the empty store" for path in kept]
            client.backups.stores.remove("elsewhere")
            client.operations.wait(client.instances.delete(_HOST).id, timeout_s=_SETTLE_S)
            self.tally.leaked += [f"{one.what} {one.name}" for one in client.host.repair(remove=False)]
        node = self.service.home / "node"
        self.tally.leaked += [str(path) for path in (node / "forks").iterdir()]
        self.service.stop()
        self.tally.leaked += orphans(self.service.home, frozenset())


def main() -> int:
    parser = argparse.ArgumentParser(prog="./test --chaos backup", description=__doc__)
    parser.add_argument("--image", default="tiny")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="keep the folder for a look at it")
    given = parser.parse_args()
    service = PrivateService("qemu", {"INSULA_OVERCOMMIT_VCPU": "100", "INSULA_OVERCOMMIT_DISK": "100"})
    store = service.top / "store"
    store.mkdir()
    print(f"{given.rounds} rounds of backups of {given.image}, seed {given.seed}, in {service.top}", flush=True)
    try:
        service.start()
        with service.client() as client:
            client.operations.wait(client.images.prepare(given.image).id, timeout_s=1800)
        rounds = Rounds(service, store, given.image, given.seed)
        tally = rounds.run(given.rounds)
    finally:
        if not given.keep and not processes_of(service.home):
            service.remove()
    for line in [*tally.torn, *tally.leaked]:
        print(f"  {line}")
    print(", ".join(f"{what}: {count}" for what, count in sorted(tally.seen.items())))
    print(tally)
    return 1 if tally.torn or tally.leaked else 0


if __name__ == "__main__":
    sys.exit(main())
