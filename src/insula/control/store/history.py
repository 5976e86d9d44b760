"""Measured history: kept in memory for a minute, then in a SQLite file that holds nothing else.

It is not state. A damaged file is set aside and begun anew, a full disk costs the history of that time, and neither
keeps anything else from being done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Connection

from insula.base.clock import monotonic_s
from insula.base.errors import DataCorrupt, HostFailure, InsulaError
from insula.base.log import get_logger
from insula.control.store.engine import Database, parse_url
from insula.control.store.history_rows import Known, Pending, load, remember
from insula.control.store.history_schema import VERSION, bucket, metadata, packed, subject, unpacked
from insula.domain.history import (
    GONE_KEPT_S,
    RESOLUTIONS,
    Buckets,
    Reading,
    Resolution,
    Seen,
    Use,
    both,
    newest,
    roll_up,
    stretches,
)

T = TypeVar("T")

_log = get_logger(__name__)
# Two looks at the clocks must agree as well as this, or what is old cannot be told.
_STEADY_S = 60.0
_NOW_S = 60.0  # what was measured longer ago is not now


class Histories:
    """What was measured of all subjects: instances by their ids, nodes by their names. Make one with :meth:`open`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = Database(parse_url(f"sqlite:///{path}"))
        self._known: dict[str, Known] = {}
        self._pending: dict[str, Pending] = {}
        self._is_failing = False
        self._is_loaded = False
        self._using = asyncio.Lock()
        self._clocks: tuple[float, float] | None = None

    @classmethod
    async def open(cls, path: Path) -> Histories:
        """The history in this file, begun if there is none that can be read; opened later if it cannot be now."""
        histories = cls(path)
        try:
            await histories._guarded(lambda _: None)
        except InsulaError as error:
            histories._fail(error)
        except BaseException:
            await histories._database.close()
            raise
        return histories

    async def close(self) -> None:
        """Write what is in memory, and let go of the file."""
        await self.flush()
        await self._database.close()

    # Measuring

    def note(self, subject_id: str, project: str, reading: Reading, wall_s: float) -> None:
        """Take a reading in; `wall_s` is the time by the wall clock. Costs no file."""
        known = self._known.setdefault(subject_id, Known(project))
        fresh = list(stretches(known.seen, reading, wall_s))
        known.seen = known.seen.then(reading) if known.seen is not None else Seen("").then(reading)
        known.newest = newest(known.newest, fresh, wall_s)
        known.noted_at_s = monotonic_s()
        self._pending.setdefault(subject_id, Pending()).add(fresh)

    def use(self, subject_id: str, name: str) -> Use:
        """What a subject uses now; nothing when it was not measured in the last minute."""
        known = self._known.get(subject_id)
        if known is None or known.seen is None or monotonic_s() - known.noted_at_s > _NOW_S:
            return Use(subject_id, name)
        at_s = max((one.end_s for one in known.newest.values()), default=None)
        return Use(
            subject_id,
            name,
            datetime.fromtimestamp(at_s, UTC) if at_s is not None else None,
            {metric: one.value for metric, one in known.newest.items()},
            {metric: value for metric, (_, value) in known.seen.values.items()},
        )

    async def flush(self) -> None:
        """Write what is in memory. What cannot be written stays there for an hour; it is said once."""
        pending, self._pending = self._pending, {}
        if not pending:
            return
        try:
            numbers = await self._guarded(lambda connection: self._write(connection, pending), writes=True)
        except InsulaError as error:
            for subject_id, old in pending.items():
                old.add_all(self._pending.get(subject_id, Pending()))
                self._pending[subject_id] = old
            self._fail(error)
            return
        for name, number in numbers.items():
            if name in self._known:
                self._known[name].number = number
        if self._is_failing:
            _log.info("measured history is written again", path=str(self._path))
        self._is_failing = False

    def _fail(self, error: InsulaError) -> None:
        if not self._is_failing:
            _log.warning("measured history cannot be written", path=str(self._path), error=str(error))
        self._is_failing = True

    # Looking

    async def read(self, subject_id: str, resolution: Resolution, since_s: float, until_s: float) -> Buckets:
        """The buckets of a subject that lie in this time, the first of them perhaps only partly."""
        await self.flush()

        def work(connection: Connection) -> Buckets:
            known = self._known.get(subject_id)
            if known is None or known.number is None:
                return {}
            wanted = sa.select(bucket.c.start_s, bucket.c.data).where(
                bucket.c.step_s == resolution.step_s,
                bucket.c.subject == known.number,
                bucket.c.start_s > since_s - resolution.step_s,
                bucket.c.start_s < until_s,
            )
            return {row.start_s: unpacked(row.data) for row in connection.execute(wanted)}

        return await self._guarded(work)

    def project_of(self, subject_id: str) -> str | None:
        """Whose history it is, also for a while after the instance has gone; None when there is none."""
        known = self._known.get(subject_id)
        return known.project if known is not None else None

    # Forgetting

    async def prune(self, alive: Collection[str], wall_s: float, passed_s: float) -> None:
        """Forget what is older than it is kept, and subjects that have long gone.

        `passed_s` is a clock that never jumps. While the wall clock does, nothing is forgotten: it would be forgotten
        for good, and the clock may be wrong.
        """
        before, self._clocks = self._clocks, (wall_s, passed_s)
        if before is None or abs((wall_s - before[0]) - (passed_s - before[1])) > _STEADY_S:
            return
        try:
            await self._guarded(lambda connection: self._forget(connection, alive, wall_s), writes=True)
        except InsulaError as error:
            _log.debug("measured history cannot be pruned", error=str(error))

    def _forget(self, connection: Connection, alive: Collection[str], wall_s: float) -> None:
        for subject_id, known in list(self._known.items()):
            if known.number is None:
                continue
            if subject_id in alive:
                known.gone_at_s = None
            elif known.gone_at_s is None:
                known.gone_at_s = wall_s
                connection.execute(subject.update().where(subject.c.number == known.number).values(gone_at_s=wall_s))
            is_over = known.gone_at_s is not None and wall_s - known.gone_at_s > GONE_KEPT_S
            own = bucket.c.subject == known.number
            if is_over:
                connection.execute(bucket.delete().where(own))
                connection.execute(subject.delete().where(subject.c.number == known.number))
                del self._known[subject_id]
                continue
            for resolution in RESOLUTIONS:
                # What a wrong clock dated ahead would never grow old.
                is_old = (bucket.c.start_s < wall_s - resolution.kept_s - resolution.step_s) | (
                    bucket.c.start_s > wall_s + resolution.step_s
                )
                connection.execute(bucket.delete().where(bucket.c.step_s == resolution.step_s, own, is_old))

    # The file

    async def _load(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self._path.touch(mode=0o600, exist_ok=False)
        except OSError as error:
            raise HostFailure(
                f"{self._path} cannot be made", why=str(error), todo="Look at the disk and the rights of that folder"
            ) from error

        def work(connection: Connection) -> dict[str, Known]:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar()
            if version not in (0, VERSION):
                raise DataCorrupt(f"{self._path} is of another version", why=f"It is {version}, not {VERSION}")
            if version == 0:  # nothing else is written, so that a full disk keeps nobody from looking
                metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version={VERSION}")
            return load(connection)

        for name, found in (await self._database.write(work, progress=True)).items():
            self._known.setdefault(name, found).number = found.number
        self._is_loaded = True

    async def _begin_anew(self, error: DataCorrupt) -> None:
        _log.warning("measured history is set aside and begun anew", path=str(self._path), error=str(error))
        await self._database.close()
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                file = self._path.with_name(self._path.name + ending)
                file.replace(self._path.with_name(f"{self._path.name}.damaged{ending}"))
        self._database = Database(parse_url(f"sqlite:///{self._path}"))
        self._is_loaded = False
        for known in self._known.values():
            known.number = None  # that of the old file

    async def _guarded(self, work: Callable[[Connection], T], *, writes: bool = False) -> T:
        """One transaction; once more in a new file when this one is damaged."""
        async with self._using:
            try:
                return await self._transact(work, writes)
            except DataCorrupt as error:
                await self._begin_anew(error)
                return await self._transact(work, writes)

    async def _transact(self, work: Callable[[Connection], T], writes: bool) -> T:
        if not self._is_loaded:
            await self._load()
        return await (self._database.write(work, progress=True) if writes else self._database.read(work))

    def _write(self, connection: Connection, pending: Mapping[str, Pending]) -> Mapping[str, int]:
        """Returns the places in the file of those that were written."""
        numbers = remember(connection, {name: self._known[name] for name in pending if name in self._known})
        for resolution in RESOLUTIONS:
            fresh = {number: roll_up(pending[name].buckets, resolution.step_s) for name, number in numbers.items()}
            if rows := _merged(connection, resolution.step_s, fresh):
                new = insert(bucket)
                place = ("step_s", "subject", "start_s")
                connection.execute(new.on_conflict_do_update(place, set_={"data": new.excluded.data}), rows)
        return numbers


def _merged(connection: Connection, step_s: int, fresh: Mapping[int, Buckets]) -> list[dict[str, object]]:
    """The rows that fresh buckets make, by subjects, together with what is there of them."""
    starts = [start for buckets in fresh.values() for start in buckets]
    if not starts:
        return []
    stored = sa.select(bucket.c.subject, bucket.c.start_s, bucket.c.data).where(
        bucket.c.step_s == step_s,
        bucket.c.subject.in_(fresh),
        bucket.c.start_s >= min(starts),
        bucket.c.start_s <= max(starts),
    )
    old = {(row.subject, row.start_s): unpacked(row.data) for row in connection.execute(stored)}
    return [
        {
            "step_s": step_s,
            "subject": number,
            "start_s": start,
            "data": packed(both(old.get((number, start), {}), means)),
        }
        for number, buckets in fresh.items()
        for start, means in buckets.items()
    ]
