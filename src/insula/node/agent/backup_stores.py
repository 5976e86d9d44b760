"""The backup stores that a node can use: `backups/stores/ID.json` below its folder, with what opens them.

Only the node's own user can read these files. A store is opened for each piece of work anew, since other nodes write to
it as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from insula.base.errors import DataCorrupt, Forbidden, InvalidInput, NotFound
from insula.base.files import write_atomic
from insula.base.log import get_logger
from insula.domain.backup import StoreKind
from insula.domain.ids import Kind, is_id
from insula.node.backups import locks
from insula.node.backups.folder import FolderTarget
from insula.node.backups.keys import Way, new_recovery_key
from insula.node.backups.limited import LimitedTarget, Pace
from insula.node.backups.repository import Repository
from insula.node.backups.s3 import S3Place, S3Target
from insula.node.backups.ssh import SshPlace, SshTarget
from insula.node.backups.target import Target
from insula.protocol.backups import StoreOpened, StoreSecret, StoreSpec

_OWNER_FILE = "owner"

_log = get_logger(__name__)


@dataclass(frozen=True)
class _Known:
    """The content of a store's file."""

    spec: StoreSpec
    secret: StoreSecret


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(_Known)


class BackupStores:
    """Opens them. `home` is the node's own folder, in which no store may be."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._folder = folder
        self._home = home
        self._owner = ""
        self._freed: set[str] = set()
        self._freeing = asyncio.Lock()
        self._paces: dict[str, Pace] = {}  # by store: all work in one keeps to its limit together

    async def open(self, spec: StoreSpec, secret: StoreSecret) -> StoreOpened:
        """Make a store usable from now on; where there is none it is made. May be repeated.

        Raises InvalidInput and Forbidden for a place or a key that does not do, and what the place raises.
        """
        self._path(spec.id)
        self._check_outside(spec)
        known = await asyncio.to_thread(self._find, spec.id)
        if known is not None and not secret.recovery_key:
            secret = replace(secret, recovery_key=known.secret.recovery_key)
        async with self._target(_Known(spec, secret)) as target:
            repository, key, is_new = await _made_or_opened(target, secret.recovery_key)
            found, damaged = await repository.backups()
        await asyncio.to_thread(self._save, _Known(spec, replace(secret, recovery_key=key)))
        return StoreOpened(key, is_new, len(found) + len(damaged))

    async def forget(self, store_id: str) -> None:
        """Remove what opens it here. May be repeated."""
        for path in (self._path(store_id), self._private_key(store_id)):
            await asyncio.to_thread(path.unlink, missing_ok=True)
        self._paces.pop(store_id, None)

    async def key(self, store_id: str) -> str:
        """Its recovery key. Raises NotFound."""
        return (await self._get(store_id)).secret.recovery_key

    @contextlib.asynccontextmanager
    async def opened(self, store_id: str) -> AsyncIterator[Repository]:
        """The store, for one piece of work. Raises NotFound, Forbidden, and what the place raises."""
        known = await self._get(store_id)
        async with self._target(known) as target:
            await self._free(store_id, target)
            yield await Repository.open(target, known.secret.recovery_key, owner=self._own_name())

    async def _free(self, store_id: str, target: Target) -> None:
        """Take away the locks of a service before this one, which was killed."""
        async with self._freeing:  # a second look would find the locks of who went on after the first
            if store_id in self._freed:
                return
            count = await locks.remove_of(target, self._own_name())
            self._freed.add(store_id)
        if count:
            _log.info("locks of a killed service removed", store_id=store_id, count=count)

    def _own_name(self) -> str:
        """What this node's locks are told by; the same for every service on its folder."""
        if not self._owner:
            path = self._folder / _OWNER_FILE
            if not path.exists():
                self._make_folder()
                write_atomic(path, secrets.token_hex(8).encode())
            self._owner = path.read_text()
        return self._owner

    @contextlib.asynccontextmanager
    async def _target(self, known: _Known) -> AsyncIterator[Target]:
        target = await asyncio.to_thread(self._made_target, known)
        if known.spec.rate_mib_s:
            target = LimitedTarget(target, self._pace(known.spec))
        try:
            yield target
        finally:
            await target.close()

    def _pace(self, spec: StoreSpec) -> Pace:
        limit = spec.rate_mib_s * (1 << 20)
        pace = self._paces.setdefault(spec.id, Pace(limit))
        pace.bytes_a_second = limit  # it may have been changed; it holds for what is under way as well
        return pace

    def _made_target(self, known: _Known) -> Target:
        place, secret = known.spec.place, known.secret
        if place.kind is StoreKind.FOLDER:
            return FolderTarget(Path(place.path))
        if place.kind is StoreKind.S3:
            where = S3Place(place.bucket, place.path, place.endpoint, place.region)
            return S3Target(where, secret.access_key, secret.secret_key)
        key = self._private_key(known.spec.id)
        self._make_folder()
        write_atomic(key, secret.private_key.encode())
        return SshTarget(SshPlace(place.host, place.user, place.path, place.host_key, place.port), key)

    def _check_outside(self, spec: StoreSpec) -> None:
        if spec.place.kind is not StoreKind.FOLDER:
            return
        folder = Path(spec.place.path)
        if not folder.is_absolute() or folder.resolve().is_relative_to(self._home.resolve()):
            raise InvalidInput(
                f"{str(folder)[:200]!r} cannot hold a backup store",
                why="It must be an absolute path outside of Insula's own folder, which would be lost together with it",
                todo="Take a folder on another disk, or on a file server that is mounted",
                code="bad-backup-place",
                fields={"path": "a folder elsewhere"},
            )

    def _path(self, store_id: str) -> Path:
        if not is_id(store_id, Kind.STORE):
            raise InvalidInput(
                f"{store_id[:80]!r} is not a backup store's id",
                why="An id looks like sto_01hq4z… with 26 characters after sto_",
                todo="Take the id from `insula backup store list`",
                code="invalid-id",
            )
        return self._folder / f"{store_id}.json"

    def _private_key(self, store_id: str) -> Path:
        return self._path(store_id).with_suffix(".ssh-key")

    async def _get(self, store_id: str) -> _Known:
        known = await asyncio.to_thread(self._find, store_id)
        if known is None:
            raise NotFound(
                f"This node has no backup store {store_id}",
                why=f"There is no {self._path(store_id)}",
                todo="Look at `insula backup store list`, and add it again",
                code="unknown-backup-store",
            )
        return known

    def _find(self, store_id: str) -> _Known | None:
        path = self._path(store_id)
        try:
            return _DECODER.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:  # msgspec's errors are ValueErrors
            raise DataCorrupt(
                f"The record of backup store {store_id} is damaged",
                why=f"{path}: {error}",
                todo="Remove the store and add it again with its recovery key; nothing in it is lost",
            ) from error

    def _save(self, known: _Known) -> None:
        self._make_folder()
        write_atomic(self._path(known.spec.id), msgspec.json.encode(known))

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)


async def _made_or_opened(target: Target, key: str) -> tuple[Repository, str, bool]:
    """The store with its key, and whether it is new."""
    if key:
        try:
            return await Repository.open(target, key), key, False
        except NotFound:
            return await Repository.create(target, key, Way.RECOVERY_KEY), key, True
    if await Repository.exists(target):
        raise Forbidden(
            "There is a backup store already, which this node has no key for",
            why="Somebody made it before",
            todo="Give its recovery key, or take another place",
            code="backup-key-needed",
        )
    key = new_recovery_key()
    return await Repository.create(target, key, Way.RECOVERY_KEY), key, True
