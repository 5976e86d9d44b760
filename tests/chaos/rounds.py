"""Rounds of creates with the service killed in the middle of them."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from insula.base.errors import InsulaError, Unavailable
from insula.client import Client
from insula.domain.instance import InstanceState
from insula.domain.operation import OperationState
from tests.chaos.orphans import orphans
from tests.private_service import PrivateService


@dataclass(frozen=True)
class Plan:
    """What to do. `kill_within_s`: the kill comes at a random moment of so many seconds after the first create."""

    image: str
    plan: str
    rounds: int
    parallel: int
    witnesses: int
    kill_within_s: float
    settle_timeout_s: float
    seed: int


@dataclass
class Tally:
    """What went wrong, in words; all empty is a pass."""

    orphans: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    uptime_breaks: list[str] = field(default_factory=list)
    created: int = 0
    refused: int = 0
    slowest_recovery_s: float = 0.0

    @property
    def clean(self) -> bool:
        return not (self.orphans or self.lost or self.uptime_breaks)

    def __str__(self) -> str:
        return f"orphans {len(self.orphans)} lost {len(self.lost)} uptime_breaks {len(self.uptime_breaks)}"


class Rounds:
    """The whole run: witnesses that must never notice anything, and creates that are cut in the middle."""

    def __init__(self, service: PrivateService, plan: Plan) -> None:
        self.service = service
        self.plan = plan
        self.tally = Tally()
        self.boot_ids: dict[str, str] = {}  # name → boot id of the guest, as first seen
        self._random = random.Random(plan.seed)

    def run(self) -> Tally:
        with self.service.client() as client:
            names = [f"witness-{number}" for number in range(self.plan.witnesses)]
            for operation in [self._create(client, name) for name in names]:
                client.operations.wait(operation, timeout_s=self.plan.settle_timeout_s)
            self._look_at_guests(client)
        for number in range(1, self.plan.rounds + 1):
            began = time.monotonic()
            killed_after_s = self._round(number)
            print(
                f"round {number}/{self.plan.rounds}: killed after {killed_after_s:.2f} s, "
                f"settled in {time.monotonic() - began:.1f} s; {self.tally}",
                flush=True,
            )
        self._end()
        return self.tally

    def _round(self, number: int) -> float:
        """Creates at once, a kill in the middle, a restart, and the account of what became of each."""
        names = [f"round-{number}-{index}" for index in range(self.plan.parallel)]
        delay_s = self._random.uniform(0.02, self.plan.kill_within_s)
        accepted: dict[str, str] = {}  # name → operation id
        with ThreadPoolExecutor(self.plan.parallel) as pool:
            futures = [pool.submit(self._create_in_thread, name, accepted) for name in names]
            time.sleep(delay_s)
            self.service.kill()
            for future in futures:
                future.result()
        began = time.monotonic()
        self.service.start()
        self.service.wait_until_it_answers()
        self.tally.slowest_recovery_s = max(self.tally.slowest_recovery_s, time.monotonic() - began)
        with self.service.client() as client:
            self._settle(client)
            self._account(client, names, accepted)
            self._look_at_guests(client)
            self._look_for_orphans(client)
            self._delete(client, [one.name for one in client.instances.list() if one.name in names])
            self._look_for_orphans(client)
        return delay_s

    def _create(self, client: Client, name: str) -> str:
        return client.instances.create(name, image=self.plan.image, plan=self.plan.plan).id

    def _create_in_thread(self, name: str, accepted: dict[str, str]) -> None:
        try:
            with self.service.client() as client:
                accepted[name] = self._create(client, name)
        except Unavailable:
            self.tally.refused += 1  # the kill came before the answer: it may exist or not, but never half

    def _settle(self, client: Client) -> None:
        """Wait until no operation is under way."""
        deadline = time.monotonic() + self.plan.settle_timeout_s
        while waiting := [one for one in client.operations.list(limit=100) if not one.state.is_final]:
            if time.monotonic() > deadline:
                self.tally.lost += [f"{one.verb} of {one.target_name} never ended ({one.state})" for one in waiting]
                return
            time.sleep(0.25)

    def _account(self, client: Client, names: list[str], accepted: dict[str, str]) -> None:
        found = {one.name: one for one in client.instances.list()}
        for name, operation_id in accepted.items():
            operation = client.operations.get(operation_id)
            if operation.state is not OperationState.SUCCEEDED:
                self.tally.lost.append(f"{name}: create ended {operation.state}: {operation.error}")
        for name in names:
            if name in found and found[name].state is not InstanceState.RUNNING:
                self.tally.lost.append(f"{name} is {found[name].state}: {found[name].problem}")
        for name in self.boot_ids:
            if name not in found:
                self.tally.lost.append(f"{name} is gone")
        self.tally.created += sum(name in found for name in names)

    def _look_at_guests(self, client: Client) -> None:
        """Every running guest answers, and those seen before still run the very boot they ran then."""
        for one in client.instances.list():
            if one.state is not InstanceState.RUNNING:
                continue
            try:
                done = client.guest.execute(one.name, ["cat", "/proc/sys/kernel/random/boot_id"], timeout_s=60)
            except InsulaError as error:
                self.tally.lost.append(f"{one.name} does not answer: {error}")
                continue
            boot_id = done.stdout.decode().strip()
            if self.boot_ids.setdefault(one.name, boot_id) != boot_id:
                self.tally.uptime_breaks.append(f"{one.name} was booted again")
                self.boot_ids[one.name] = boot_id

    def _look_for_orphans(self, client: Client) -> None:
        known = frozenset(one.id for one in client.instances.list())
        self.tally.orphans += orphans(self.service.home, known)
        self.tally.orphans += [f"{one.what} {one.name} (the doctor's)" for one in client.host.repair(remove=False)]

    def _delete(self, client: Client, names: list[str]) -> None:
        operations = [client.instances.delete(name).id for name in names]
        for operation in operations:
            client.operations.wait(operation, timeout_s=self.plan.settle_timeout_s)
        for name in names:
            self.boot_ids.pop(name, None)

    def _end(self) -> None:
        """Delete the witnesses too; then nothing of this home may be left on the host."""
        with self.service.client() as client:
            self._delete(client, [one.name for one in client.instances.list()])
            self._look_for_orphans(client)
        self.service.stop()
        self.tally.orphans += orphans(self.service.home, frozenset())
