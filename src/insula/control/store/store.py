"""The store: the truth about projects, instances and operations, one noun per module."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy.engine import Connection

from insula.base.clock import now_utc
from insula.base.errors import Unavailable
from insula.control.store.acceptance import Acceptance, accept, claims
from insula.control.store.accounts import Accounts
from insula.control.store.addresses import Addresses
from insula.control.store.aliases import Aliases
from insula.control.store.audit import Audit
from insula.control.store.backup_schedules import BackupSchedules
from insula.control.store.backup_stores import BackupStores
from insula.control.store.backups import Backups
from insula.control.store.cards import Cards
from insula.control.store.completion import Completion, complete
from insula.control.store.engine import Database, check_file, parse_url
from insula.control.store.firewalls import Firewalls
from insula.control.store.images import Images
from insula.control.store.instances import Instances
from insula.control.store.keys import Keys
from insula.control.store.migrations import migrate
from insula.control.store.networks import Networks
from insula.control.store.operations import Operations
from insula.control.store.projects import Projects
from insula.control.store.read_model import ReadModel, look
from insula.control.store.schema import project
from insula.control.store.sessions import Sessions
from insula.control.store.snapshots import Snapshots
from insula.control.store.tokens import Tokens
from insula.control.store.traffic import Traffic
from insula.control.store.users import Users
from insula.control.store.volumes import Volumes
from insula.domain.access import DEFAULT_PROJECT
from insula.domain.capacity import Claim
from insula.domain.operation import Operation

_LOOK_EVERY_S = 0.25


class Store:
    """Everything that control remembers. Make one with :meth:`open`, and :meth:`close` it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.keys = Keys(database)
        self.tokens = Tokens(database)
        self.projects = Projects(database)
        self.accounts = Accounts(database)
        self.users = Users(database)
        self.sessions = Sessions(database)
        self.audit = Audit(database)
        self.instances = Instances(database)
        self.networks = Networks(database)
        self.cards = Cards(database)
        self.traffic = Traffic(database)
        self.addresses = Addresses(database)
        self.aliases = Aliases(database)
        self.firewalls = Firewalls(database)
        self.volumes = Volumes(database)
        self.images = Images(database)
        self.snapshots = Snapshots(database)
        self.backup_stores = BackupStores(database)
        self.backups = Backups(database)
        self.backup_schedules = BackupSchedules(database)
        self.operations = Operations(database)
        self._models: Sequence[ReadModel[Any]] = (
            self.tokens.model,
            self.instances.model,
            self.networks.model,
            self.addresses.model,
            self.volumes.model,
            self.images.model,
            self.snapshots.model,
            self.backups.model,
            self.backup_schedules.model,
        )

    @classmethod
    async def open(cls, url: str) -> Store:
        """Connect, look the file through, migrate, make the default project.

        Raises :class:`InvalidInput` (URL), :class:`DataCorrupt`, :class:`Conflict` (a newer schema) and
        :class:`Unavailable`.
        """
        database = Database(parse_url(url))
        try:
            await asyncio.to_thread(_prepare, database)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        """Wait for running transactions and let go of the database."""
        await self._database.close()

    async def accept(self, wanted: Acceptance) -> Operation:
        """Accept an operation in one transaction; see :class:`Acceptance`.

        Raises :class:`Conflict` (name-taken, operation-in-progress, wrong-state, protected, port-taken, image-in-use),
        :class:`NotFound` and :class:`CapacityExceeded`; nothing is changed then.
        """
        return await self._database.write(lambda connection: accept(self._database, connection, wanted))

    async def finish(self, end: Completion) -> bool:
        """End an operation in one transaction, once: False when it was final already."""
        return await self._database.write(lambda connection: complete(connection, end))

    async def claims(self) -> Sequence[Claim]:
        """What every instance and volume takes of its node."""
        return await self._database.read(claims)

    async def watch(self) -> None:
        """Notice other controllers' writes, for ever; run it as a task. Returns at once on SQLite, which has one."""
        while not self._database.is_sqlite:
            await asyncio.sleep(_LOOK_EVERY_S)
            with suppress(Unavailable):  # the database restarts; requests tell, we go on looking
                await look(self._database, self._models)


def _prepare(database: Database) -> None:
    check_file(database)
    migrate(database)
    database.transact(_make_default_project)


def _make_default_project(connection: Connection) -> None:
    if not connection.execute(project.select().where(project.c.name == DEFAULT_PROJECT)).first():
        connection.execute(project.insert().values(name=DEFAULT_PROJECT, created_at=now_utc()))
