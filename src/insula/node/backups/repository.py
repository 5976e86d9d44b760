"""A backup store: made, opened, written to, read from and cleaned up.

See docs/backup-format.md for what lies in it. Nothing in it is ever changed: objects are added, and removed by a prune.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import msgspec

from insula.base.clock import now_utc
from insula.base.errors import Conflict, DataCorrupt, InsulaError, NotFound, Unsupported
from insula.node.backups import keys, locks, manifest
from insula.node.backups.check import Findings, check
from insula.node.backups.index import Index, read_index
from insula.node.backups.keys import Way
from insula.node.backups.manifest import Backup
from insula.node.backups.pack import PACKS
from insula.node.backups.prune import Pruned, prune
from insula.node.backups.reader import Piece, Reader
from insula.node.backups.repair import Repaired, repair
from insula.node.backups.sealing import CHUNK_BYTES, KEY_BYTES, Sealer
from insula.node.backups.target import Target
from insula.node.backups.tree import Tree
from insula.node.backups.turns import in_turns
from insula.node.backups.writer import DiskContent, Writer

CONFIG = "config"
KEYS = "keys/"
FORMAT = 1


@dataclass(frozen=True)
class Config:
    """What can be read without a key: which format it is, and which store."""

    format: int
    repository: str
    chunk_bytes: int


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(Config)


class Repository:
    """An open store. Made by :meth:`create` or :meth:`open`; the target stays the caller's to close."""

    def __init__(self, target: Target, config: Config, master_key: bytes, owner: str = "") -> None:
        self._target = target
        self._owner = owner
        self.config = config
        self._master_key = master_key
        self._sealer = Sealer(master_key)

    @classmethod
    async def create(cls, target: Target, secret: str, way: Way) -> Self:
        """Make a store that `secret` opens. Raises Conflict when there is one already."""
        if await _config(target) is not None:
            raise Conflict(
                "There is a backup store already",
                why="The target has one, which must not be written over",
                todo="Open it with its key, or take another place",
                code="backup-store-exists",
            )
        master_key = os.urandom(KEY_BYTES)
        config = Config(FORMAT, secrets.token_hex(16), CHUNK_BYTES)
        repository = cls(target, config, master_key)
        await repository.add_key(secret, way)
        # Written last: a store that was not finished is none.
        await target.put(CONFIG, msgspec.json.encode(config))
        return repository

    @classmethod
    async def open(cls, target: Target, secret: str, *, owner: str = "") -> Self:
        """`owner` is who its locks belong to.

        Raises NotFound, Unsupported for a later format, Forbidden when the secret opens none of its keys.
        """
        config = await _config(target)
        if config is None:
            raise NotFound(
                "There is no backup store",
                why="The target has no object `config`",
                todo="Make one there, or look for a mistake in the address",
                code="no-backup-store",
            )
        if config.format != FORMAT:
            raise Unsupported(
                f"The backup store has format {config.format}",
                why=f"This version knows format {FORMAT}",
                todo="Use the version of Insula that wrote it",
                code="backup-format",
            )
        return cls(target, config, await _unlocked(target, secret), owner)

    @staticmethod
    async def exists(target: Target) -> bool:
        """Whether there is a store."""
        return await _config(target) is not None

    # Keys

    async def add_key(self, secret: str, way: Way) -> str:
        """Let another secret open the store, too; the name by which it can be taken off again."""
        name = secrets.token_hex(8)
        await self._target.put(f"{KEYS}{name}", keys.lock(self._master_key, secret, way))
        return name

    async def key_names(self) -> list[str]:
        return sorted([stored.name.removeprefix(KEYS) async for stored in self._target.list(KEYS)])

    async def remove_key(self, name: str) -> None:
        """Let a secret open the store no more. Raises Conflict for the last one. Repeatable."""
        if await self.key_names() == [name]:
            raise Conflict("This is the only key", why="Nobody could read a backup any more", code="last-backup-key")
        await self._target.delete(f"{KEYS}{name}")

    # Backups

    async def write(self, backup_id: str, disks: Mapping[str, DiskContent], facts: Mapping[str, Any]) -> Backup:
        """Store a backup. One that was cut off leaves what it had stored, which the next one finds.

        Raises Conflict while a prune works, and what the disks' changes and the target raise.
        """
        async with locks.shared(self._target, self._owner):
            writer = Writer(self._target, self._sealer, await self._read_index())
            try:
                trees = {name: await writer.store_disk(disk) for name, disk in disks.items()}
                await writer.finish()
            finally:
                await writer.close()
            backup = Backup(backup_id, now_utc(), trees, facts, writer.added_bytes)
            await manifest.write_backup(self._target, self._sealer, backup)
        return backup

    async def backups(self) -> tuple[list[Backup], dict[str, InsulaError]]:
        """All backups, oldest first, and the ids of those whose manifest is damaged."""
        found: list[Backup] = []
        damaged: dict[str, InsulaError] = {}

        async def read(backup_id: str) -> None:
            try:
                found.append(await self.backup(backup_id))
            except NotFound:  # it was removed just now
                return
            except DataCorrupt as error:
                damaged[backup_id] = error

        await in_turns(partial(read, backup_id) for backup_id in await manifest.backup_ids(self._target))
        return sorted(found, key=lambda backup: backup.made_at), damaged

    async def backup(self, backup_id: str) -> Backup:
        """Raises NotFound and DataCorrupt."""
        return await manifest.read_backup(self._target, self._sealer, backup_id)

    async def read(
        self, tree: Tree, begin: int = 0, end: int | None = None, *, tolerant: bool = False
    ) -> AsyncGenerator[Piece, None]:
        """See Reader.disk."""
        async with locks.reading(self._target, self._owner):
            reader = Reader(self._target, self._sealer, await self._read_index())
            async for piece in reader.disk(tree, begin, end, tolerant=tolerant):
                yield piece

    async def forget(self, backup_ids: Sequence[str]) -> None:
        """Remove backups; what only they needed goes with the next prune. Repeatable."""
        for backup_id in backup_ids:
            await self._target.delete(f"{manifest.BACKUPS}{backup_id}")
            await manifest.remove_notes(self._target, backup_id)

    async def note(self, backup_id: str, note: Mapping[str, Any]) -> None:
        """Keep something that was learned about a backup, such as that it was restored."""
        await manifest.add_note(self._target, self._sealer, backup_id, note)

    async def notes(self, backup_id: str = "") -> Mapping[str, list[dict[str, Any]]]:
        """What was learned, by the ids of backups; of all backups unless one is named."""
        return await manifest.read_notes(self._target, self._sealer, backup_id)

    # The store

    async def prune(self) -> Pruned:
        """Free what no backup needs. Raises Conflict while others write, DataCorrupt in a damaged store."""
        async with locks.alone(self._target, self._owner):
            return await prune(self._target, self._sealer)

    async def check(self, *, read_data: bool = False) -> Findings:
        """See :func:`insula.node.backups.check.check`."""
        async with locks.reading(self._target, self._owner):
            return await check(self._target, self._sealer, read_data=read_data)

    async def repair(self) -> Repaired:
        """Write the index anew from what is whole. Raises Conflict while others write."""
        async with locks.alone(self._target, self._owner):
            return await repair(self._target, self._sealer)

    async def size_bytes(self) -> int:
        """What packs take in the target."""
        return sum([stored.size_bytes async for stored in self._target.list(PACKS)])

    async def _read_index(self) -> Index:
        # Each time anew: others write, too, and a prune replaces it.
        return await read_index(self._target, self._sealer)


async def _config(target: Target) -> Config | None:
    try:
        return _DECODER.decode(await target.get(CONFIG))
    except NotFound:
        return None
    except (msgspec.DecodeError, ValueError) as error:
        raise DataCorrupt(
            "The backup store's config is damaged",
            why=str(error),
            todo="Write it again: docs/backup-format.md says what is in it",
            code="backup-damaged",
        ) from error


async def _unlocked(target: Target, secret: str) -> bytes:
    problem: InsulaError | None = None
    for name in sorted([stored.name async for stored in target.list(KEYS)]):
        try:
            return keys.unlock(await target.get(name), secret)
        except InsulaError as error:
            problem = error
    raise problem or DataCorrupt(
        "The backup store has no key",
        why="Somebody removed all of them",
        todo="Restore the objects below `keys/`",
        code="backup-key-damaged",
    )
