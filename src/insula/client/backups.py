"""Backups, their stores and their schedules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from insula.client.connection import Connection, given, path_of
from insula.client.decode import build
from insula.client.saving import save
from insula.domain.backup import Backup, BackupStore
from insula.domain.operation import Operation
from insula.domain.schedule import BackupSchedule
from insula.protocol.backups import FileEntry

_STORE_TIMEOUT_S = 330.0  # a place far away, with many backups in it
_FILES_TIMEOUT_S = 3600.0  # what is needed of a disk is fetched first
_CHUNK_BYTES = 65536
_BYTES = {"Accept": "application/octet-stream, application/problem+json"}


@dataclass(frozen=True)
class AddedStore:
    """A store that was added. Keep its `recovery_key` elsewhere: whoever has it can read all backups in it.

    `is_new` says that nothing was there before; `backups` are those that were found in it and are known now.
    """

    store: BackupStore
    is_new: bool
    recovery_key: str = field(repr=False)
    backups: tuple[Backup, ...] = ()


class BackupStores:
    """`store` is a name or an id."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, name: str, kind: str, *, rate_mib_s: int = 0, **place: Any) -> AddedStore:
        """Make a store, or open one that there is with its `recovery_key`.

        `kind` is folder (with `path`), s3 (`bucket`, `access_key`, `secret_key`; `endpoint`, `path` as prefix,
        `region`) or ssh (`host`, `user`, `path`, `host_key`, `private_key`; `port`).
        """
        body = given({"name": name, "kind": kind, "rate_mib_s": rate_mib_s, **place})
        answer = self._connection.request("POST", path_of("backup-stores"), body=body, timeout_s=_STORE_TIMEOUT_S)
        return build(AddedStore, answer)

    def list(self) -> list[BackupStore]:
        """All of the project, oldest first."""
        return [build(BackupStore, item) for item in self._connection.pages(path_of("backup-stores"))]

    def get(self, store: str) -> BackupStore:
        return build(BackupStore, self._connection.get(path_of("backup-stores", store)))

    def key(self, store: str) -> str:
        """Its recovery key."""
        return str(self._connection.get(path_of("backup-stores", store, "key"))["recovery_key"])

    def remove(self, store: str) -> int:
        """Forget it, and the backups in it, of which it returns how many; there they stay. Raises Conflict."""
        return int(self._connection.request("DELETE", path_of("backup-stores", store))["backups"])

    def check(self, store: str, *, read_data: bool = False) -> Operation:
        """Look whether all is there; with `read_data`, whether it is what was written.

        The operation's result has `is_whole`, `objects` (`name`, `why`), `backups` (`id`, `part`, `ranges`, `why`),
        `checked_packs` and `checked_bytes`.
        """
        body = {"read_data": read_data}
        answer = self._connection.request("POST", path_of("backup-stores", store, "check"), body=body)
        return build(Operation, answer)

    def prune(self, store: str) -> Operation:
        """Give back the room of what no backup needs; the operation's result has `freed_bytes`."""
        return build(Operation, self._connection.request("POST", path_of("backup-stores", store, "prune")))

    def repair(self, store: str) -> Operation:
        """Let the next backups store again what is lost; the operation's result has `lost_pieces`."""
        return build(Operation, self._connection.request("POST", path_of("backup-stores", store, "repair")))

    def import_backups(self, store: str) -> Sequence[Backup]:
        """Take over what other hosts put there; what is new. May be repeated."""
        path = path_of("backup-stores", store, "import")
        answer = self._connection.request("POST", path, timeout_s=_STORE_TIMEOUT_S)
        return [build(Backup, item) for item in answer["items"]]


class BackupSchedules:
    """`instance` is a name or an id; each has one at most."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def set(
        self,
        instance: str,
        store: str,
        every: str,
        *,
        at_minute: int | None = None,
        keep: Mapping[str, int] | None = None,
        drill: str | None = None,
    ) -> BackupSchedule:
        """Back it up hourly, daily, weekly or monthly, at a minute of the day in UTC, instead of as before.

        `keep` says of how many periods (`hourly`, `daily`, `weekly`, `monthly`) one is kept; all stay without. `drill`
        says how often the newest is tried.
        """
        wish: dict[str, Any] = {"store": store, "every": every, "keep": dict(keep or {}), "drill": drill}
        if at_minute is not None:
            wish["at_minute"] = at_minute
        path = path_of("instances", instance, "backup-schedule")
        return build(BackupSchedule, self._connection.request("PUT", path, body=wish))

    def get(self, instance: str) -> BackupSchedule:
        """Raises NotFound when it has none."""
        return build(BackupSchedule, self._connection.get(path_of("instances", instance, "backup-schedule")))

    def end(self, instance: str) -> None:
        """End it; the backups stay. Raises NotFound when it has none."""
        self._connection.request("DELETE", path_of("instances", instance, "backup-schedule"))

    def list(self) -> list[BackupSchedule]:
        """All of the project."""
        return [build(BackupSchedule, item) for item in self._connection.get(path_of("backup-schedules"))["items"]]


class Backups:
    """`backup`, `instance` and `store` are names or ids. Lasting work returns its operation.

    :meth:`Instances.create` and :meth:`Volumes.create` restore from one.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.stores = BackupStores(connection)
        self.schedules = BackupSchedules(connection)

    def create(self, instance: str, *, store: str = "", name: str = "", protected: bool = False) -> Operation:
        """Back its disk up; the store may be left out where there is one only. The `target` is the new id.

        The operation's result has `consistency` (filesystem, crash or stopped), `size_bytes`, `read_bytes`,
        `added_bytes`, `paused_ms`, `frozen_ms` and `based_on`.
        """
        wish = {"instance": instance, "store": store, "name": name, "protected": protected}
        return self._operation("POST", path_of("backups"), given(wish))

    def list(self, *, instance: str = "", store: str = "", state: str = "", name: str = "") -> list[Backup]:
        """All backups of the project, oldest first, optionally only those that fit."""
        query = {"instance": instance, "store": store, "state": state, "name": name}
        return [build(Backup, item) for item in self._connection.pages(path_of("backups"), query)]

    def get(self, backup: str) -> Backup:
        return build(Backup, self._connection.get(path_of("backups", backup)))

    def rename(self, backup: str, name: str) -> Backup:
        return self._change(backup, {"name": name})

    def protect(self, backup: str, protected: bool = True) -> Backup:
        """A protected backup is not deleted, by a schedule neither."""
        return self._change(backup, {"protected": protected})

    def delete(self, backup: str) -> Operation:
        """Delete it; others do not need it. Raises Conflict while it is protected or used."""
        return self._operation("DELETE", path_of("backups", backup))

    def drill(self, backup: str, command: str = "") -> Operation:
        """Try it: boot it out of sight and without a network, and run a command line there.

        The operation's result has `passed`, `problem`, `exit_code`, `output` and `console`.
        """
        return self._operation("POST", path_of("backups", backup, "drill"), given({"command": command}))

    def files(self, backup: str, path: str = "/") -> Sequence[FileEntry]:
        """What is in a folder of it."""
        answer = self._connection.request(
            "GET", path_of("backups", backup, "files"), query={"path": path}, timeout_s=_FILES_TIMEOUT_S
        )
        return [build(FileEntry, item) for item in answer["items"]]

    def read_file(self, backup: str, path: str) -> Iterator[bytes]:
        """The content of a file of it, in pieces. Raises NotFound before the first piece."""
        where = path_of("backups", backup, "content")
        with self._connection.stream(
            "GET", where, query={"path": path}, headers=_BYTES, timeout_s=_FILES_TIMEOUT_S
        ) as response:
            while chunk := response.read(_CHUNK_BYTES):
                yield chunk

    def download(self, backup: str, path: str, file: Path) -> int:
        """Copy a file of it to `file`; the number of bytes."""
        return save(self.read_file(backup, path), file)

    def _change(self, backup: str, changes: Mapping[str, Any]) -> Backup:
        return build(Backup, self._connection.request("PATCH", path_of("backups", backup), body=changes))

    def _operation(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Operation:
        return build(Operation, self._connection.request(method, path, body=body))
