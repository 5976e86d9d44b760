"""The audit: who did what. Nothing in it is ever changed; triggers in the database refuse it.

Each digest covers its entry and the digest before, so that an entry changed or removed behind our back shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.clock import now_utc
from insula.control.store.engine import Database
from insula.control.store.schema import audit
from insula.domain.access import AuditEntry


@dataclass(frozen=True)
class AuditLine:
    """What a caller knows of an entry; the store adds sequence, moment and digest."""

    subject: str
    project: str
    action: str
    target: str
    outcome: str
    request_id: str


class Audit:
    """The table of audit entries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, line: AuditLine) -> AuditEntry:
        """Write one entry; it is on the disk when this returns."""
        return await self._database.write(lambda connection: append_line(self._database, connection, line))

    async def list(self, project: str | None, after: int = 0, limit: int = 100) -> Sequence[AuditEntry]:
        """Entries after the sequence `after`, oldest first; of all projects when `project` is None."""
        query = audit.select().where(audit.c.sequence > after).order_by(audit.c.sequence).limit(limit)
        if project is not None:
            query = query.where(audit.c.project == project)
        return await self._database.read(lambda c: [AuditEntry(**row._mapping) for row in c.execute(query)])

    async def newest(self, project: str, *, before: int = 0, limit: int = 100) -> Sequence[AuditEntry]:
        """At most `limit` entries of a project, newest first; with `before`, those below that sequence."""
        query = audit.select().where(audit.c.project == project).order_by(audit.c.sequence.desc()).limit(limit)
        if before:
            query = query.where(audit.c.sequence < before)
        return await self._database.read(lambda c: [AuditEntry(**row._mapping) for row in c.execute(query)])

    async def verify(self) -> int | None:
        """The sequence of the first entry that was tampered with, None when all is well.

        Entries cut off at the end cannot show here: keep the last digest elsewhere to notice that.
        """
        return await self._database.read(_first_broken)


def append_line(database: Database, connection: Connection, line: AuditLine) -> AuditEntry:
    """Append inside a transaction of the caller's."""
    database.lock(connection, "audit")
    newest = sa.select(audit.c.sequence, audit.c.digest).order_by(audit.c.sequence.desc()).limit(1)
    last = connection.execute(newest).first()
    sequence, before = (last.sequence + 1, last.digest) if last else (1, "")
    entry = AuditEntry(sequence=sequence, at=now_utc(), digest="", **vars(line))
    entry = AuditEntry(**{**vars(entry), "digest": _digest(before, entry)})
    connection.execute(audit.insert().values(**vars(entry)))
    return entry


def _digest(before: str, entry: AuditEntry) -> str:
    covered = [
        before,
        entry.sequence,
        entry.at.isoformat(timespec="microseconds"),
        entry.subject,
        entry.project,
        entry.action,
        entry.target,
        entry.outcome,
        entry.request_id,
    ]
    return hashlib.sha256(json.dumps(covered).encode()).hexdigest()


def _first_broken(connection: Connection) -> int | None:
    before, expected = "", 1
    for row in connection.execute(audit.select().order_by(audit.c.sequence)).yield_per(1000):
        entry = AuditEntry(**row._mapping)
        if entry.sequence != expected or entry.digest != _digest(before, entry):
            return expected
        before, expected = entry.digest, expected + 1
    return None
