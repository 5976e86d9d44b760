"""Asks for backups and drills when they are due by schedule, and deletes those that need not be kept.

Whatever was missed while the service was down is made up once. A backup is asked for in the transaction that notes it
with its schedule, so that a kill in between asks neither twice nor not at all. One that fails is tried again, ever
later; the schedule tells why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from insula.base.clock import now_utc
from insula.base.errors import CapacityExceeded, Conflict, InsulaError, NotFound
from insula.base.log import get_logger
from insula.control.operations import Engine
from insula.control.scheduler import Scheduler
from insula.control.store import Acceptance, AuditLine, Drilling, Store
from insula.domain.access import SCHEDULE_SUBJECT
from insula.domain.backup import Backup, BackupState, BackupStore, StoreState, free_name
from insula.domain.ids import Kind, new_id
from insula.domain.operation import Operation, OperationState, Verb, new_operation
from insula.domain.retention import doomed
from insula.domain.schedule import BackupSchedule, next_after, retry_after

log = get_logger(__name__)

_LOOK_EVERY_S = 15.0
_PRUNE_EVERY = timedelta(days=1)
_WAIT = timedelta(minutes=10)  # after something in a store has failed
_DRILL_AFTER_MIN = 60
_MINUTES_A_DAY = 24 * 60
_FAILED = frozenset({OperationState.FAILED, OperationState.STUCK})


@dataclass(frozen=True)
class _Sight:
    """What there is at one look."""

    now: datetime
    backups: Sequence[Backup]
    active: Sequence[Operation]

    def newest(self, schedule: BackupSchedule) -> Backup | None:
        """The newest whole backup that the schedule could have tried."""
        own = [
            each
            for each in self.backups
            if each.state is BackupState.AVAILABLE
            and (each.instance_id, each.store_id) == (schedule.instance_id, schedule.store_id)
        ]
        return max(own, key=lambda each: each.created_at, default=None)

    def works_on(self, target: str) -> bool:
        return any(target in operation.works_on for operation in self.active)


class Timekeeper:
    """One per controller; :meth:`run` it as a task."""

    def __init__(self, store: Store, engine: Engine, scheduler: Scheduler) -> None:
        self._store = store
        self._engine = engine
        self._scheduler = scheduler
        self._left_alone: dict[str, datetime] = {}  # stores in which something failed, and until when

    async def run(self) -> None:
        """Look every few seconds until cancelled."""
        while True:
            try:
                await self.look()
            except InsulaError as error:
                log.warning("schedules of backups cannot be looked after now", error=str(error))
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Note what has ended, and ask once for all that is due. Raises what the store raises when it is away."""
        schedules = await self._store.backup_schedules.all()
        for schedule in schedules:
            await self._note_end(schedule)
            await self._note_drill(schedule)
        schedules = await self._store.backup_schedules.all()
        sight = _Sight(now_utc(), await self._store.backups.all(), await self._store.operations.active())
        for schedule in schedules:
            if not schedule.operation_id and schedule.next_at <= sight.now:
                await self._back_up(schedule, sight)
            if schedule.drill_at is not None and not schedule.drill_operation_id and schedule.drill_at <= sight.now:
                await self._drill(schedule, schedule.drill_at, sight)
            await self._thin_out(schedule, sight)
        for place in await self._store.backup_stores.all():
            await self._prune(place, sight)

    async def _note_end(self, schedule: BackupSchedule) -> None:
        ended = await self._ended(schedule.operation_id)
        if ended is None:
            return
        now = now_utc()
        regular = next_after(schedule.every, schedule.at_minute, now)
        if ended.state in _FAILED:
            failures = schedule.failures + 1
            problem = _problem(ended)
            log.warning("a backup by schedule failed", instance_id=schedule.instance_id, times=failures, why=problem)
            again = retry_after(schedule, now, failures)
            await self._store.backup_schedules.note(
                schedule, operation_id="", failures=failures, problem=problem, next_at=again
            )
        elif ended.state is OperationState.CANCELLED:
            await self._store.backup_schedules.note(schedule, operation_id="", next_at=regular)
        else:
            await self._store.backup_schedules.note(
                schedule, operation_id="", failures=0, problem="", next_at=regular, last_at=now
            )

    async def _note_drill(self, schedule: BackupSchedule) -> None:
        ended = await self._ended(schedule.drill_operation_id)
        if ended is None:
            return
        problem = _problem(ended) if ended.state in _FAILED else str((ended.result or {}).get("problem") or "")
        if problem:
            log.warning("a drill by schedule failed", instance_id=schedule.instance_id, why=problem)
        await self._store.backup_schedules.note(schedule, drill_operation_id="", drill_problem=problem)

    async def _ended(self, operation_id: str) -> Operation | None:
        found = await self._store.operations.find(operation_id) if operation_id else None
        return found if found is not None and found.state.is_final else None

    async def _back_up(self, schedule: BackupSchedule, sight: _Sight) -> None:
        host = await self._store.instances.find(schedule.instance_id)
        if host is None:
            return
        taken = {each.name for each in sight.backups if each.project == schedule.project}
        backup = Backup(
            id=new_id(Kind.BACKUP),
            project=schedule.project,
            name=free_name(host.name, sight.now, taken),
            store_id=schedule.store_id,
            instance_id=host.id,
            instance_name=host.name,
            state=BackupState.CREATING,
            node=host.node,
            created_at=sight.now,
            updated_at=sight.now,
            image=host.image,
            plan=host.plan,
            resources=host.resources,
            firmware=host.firmware,
            machine_type=host.machine_type,
            scheduled=True,
        )
        try:
            await self._accept(
                Acceptance(_operation(Verb.CREATE_BACKUP, backup.id, backup.name, schedule.project), backup=backup)
            )
        except Conflict as error:
            if error.code in {"operation-in-progress", "backup-in-progress"}:
                return  # the next look tries again
            failures = schedule.failures + 1
            again = retry_after(schedule, sight.now, failures)
            await self._store.backup_schedules.note(schedule, failures=failures, problem=str(error), next_at=again)
        except NotFound:
            return  # it is gone meanwhile, and its schedule with it

    async def _drill(self, schedule: BackupSchedule, due_at: datetime, sight: _Sight) -> None:
        newest = sight.newest(schedule)
        if newest is None or schedule.drill is None or sight.works_on(newest.id):
            return
        operation = _operation(Verb.DRILL_BACKUP, newest.id, newest.name, schedule.project)
        operation = replace(operation, params={"command": ""})
        minute = (schedule.at_minute + _DRILL_AFTER_MIN) % _MINUTES_A_DAY
        noted = {"drill_at": next_after(schedule.drill, minute, sight.now)}
        try:
            place = await self._scheduler.placer(newest.resources, newest.node)
            accepted = await self._accept(Acceptance(operation, drilling=Drilling(new_id(Kind.INSTANCE)), place=place))
        except (Conflict, NotFound):
            return  # the next look tries again
        except CapacityExceeded as error:
            later = {"drill_at": sight.now + _WAIT, "drill_problem": str(error)}
            await self._store.backup_schedules.note(schedule, **later)
            return
        await self._store.backup_schedules.note(schedule, drill_operation_id=accepted.id, **noted)

    async def _thin_out(self, schedule: BackupSchedule, sight: _Sight) -> None:
        """Delete those by schedule that need not be kept. Protected ones stay, and count like the others."""
        own = [
            each
            for each in sight.backups
            if each.scheduled and (each.instance_id, each.store_id) == (schedule.instance_id, schedule.store_id)
        ]
        whole = [each for each in own if each.state is BackupState.AVAILABLE]
        ids = doomed(((each.id, each.created_at) for each in whole), schedule.keep)
        broken = {each.id for each in own if each.state is BackupState.FAILED} if not schedule.keep.is_all else set()
        for each in own:
            if each.protected or each.id not in ids | broken or sight.works_on(each.id):
                continue
            await self._in_store(each.store_id, Verb.DELETE_BACKUP, (each.id, each.name), each.project)

    async def _prune(self, place: BackupStore, sight: _Sight) -> None:
        """Once a day, if there is something to give back."""
        if place.state is not StoreState.AVAILABLE or place.deleted_at is None or sight.works_on(place.id):
            return
        last = place.pruned_at
        if last is not None and (last >= place.deleted_at or sight.now - last < _PRUNE_EVERY):
            return
        await self._in_store(place.id, Verb.PRUNE_STORE, (place.id, place.name), place.project)

    async def _in_store(self, store_id: str, verb: Verb, target: tuple[str, str], project: str) -> None:
        """Ask for something, unless the last one of its kind has just failed."""
        now = now_utc()
        if self._left_alone.get(target[0], now) > now:
            return
        self._left_alone = {name: until for name, until in self._left_alone.items() if until > now}
        self._left_alone[target[0]] = now + _WAIT
        try:
            await self._accept(Acceptance(_operation(verb, target[0], target[1], project)))
        except (Conflict, NotFound) as error:
            log.info("a backup store is busy", store_id=store_id, why=str(error))

    async def _accept(self, wanted: Acceptance) -> Operation:
        operation = wanted.operation
        doing, _, noun = operation.verb.partition("_")
        line = AuditLine(
            *(SCHEDULE_SUBJECT, operation.project, f"{noun}s.{doing}", operation.target),
            *(f"accepted: {operation.id}", ""),
        )
        accepted = await self._store.accept(replace(wanted, audit=line))
        await self._engine.submit(accepted.id)
        return accepted


def _operation(verb: Verb, target: str, name: str, project: str) -> Operation:
    return new_operation(verb, (target, name), project=project, requested_by=SCHEDULE_SUBJECT)


def _problem(ended: Operation) -> str:
    error = ended.error or {}
    return f"{error.get('what', 'It failed')}: {error.get('why', '')}".rstrip(": ")
