"""A folder on another machine as a target, over SFTP. Source: draft-ietf-secsh-filexfer-02, asyncssh's documentation.

The other machine must be known: its host key is compared with the one that is given. Objects are written under another
name first and renamed, with OpenSSH's atomic rename.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import asyncssh

from insula.base.errors import DiskFull, Forbidden, HostFailure, InsulaError, NotFound, Unavailable
from insula.node.backups.pack import PACK_BYTES
from insula.node.backups.target import Stored

_CONNECT_S = 30.0
_ANSWER_S = 120.0
_SLOWEST_BYTES_A_SECOND = 100_000
_DRAFT = "."
_NO_SPACE = frozenset({asyncssh.FX_NO_SPACE_ON_FILESYSTEM, asyncssh.FX_QUOTA_EXCEEDED})


@dataclass(frozen=True)
class SshPlace:
    """A folder of a user on another machine. `host_key` is a line as in known_hosts, without the name."""

    host: str
    user: str
    folder: str
    host_key: str
    port: int = 22


class SshTarget:
    """Implements Target. Connects when it is first needed, and again after the connection broke."""

    def __init__(self, place: SshPlace, private_key: Path) -> None:
        self._place = place
        self._private_key = private_key
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None
        self._connecting = asyncio.Lock()
        self._folders: set[str] = set()

    async def put(self, name: str, data: bytes) -> None:
        with self._translated(name):
            async with asyncio.timeout(_ANSWER_S + len(data) / _SLOWEST_BYTES_A_SECOND):
                client = await self._connected()
                path = self._path(name)
                await self._make_folder(client, path.parent)
                draft = str(path.with_name(f"{_DRAFT}{path.name}.{secrets.token_hex(4)}"))
                try:
                    async with client.open(draft, "wb", asyncssh.SFTPAttrs(permissions=0o600)) as file:
                        await file.write(data)
                        with contextlib.suppress(asyncssh.SFTPOpUnsupported):
                            await file.fsync()
                    await client.posix_rename(draft, str(path))
                except asyncssh.SFTPError:
                    with contextlib.suppress(asyncssh.SFTPError):
                        await client.remove(draft)
                    raise

    async def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._translated(name):
            async with asyncio.timeout(_ANSWER_S + (length or PACK_BYTES) / _SLOWEST_BYTES_A_SECOND):
                client = await self._connected()
                async with client.open(str(self._path(name)), "rb") as file:
                    return cast("bytes", await file.read(-1 if length is None else length, offset))

    async def list(self, prefix: str) -> AsyncIterator[Stored]:
        async for stored in self._found(prefix):
            if not _is_draft(stored.name):
                yield stored

    async def _found(self, prefix: str) -> AsyncIterator[Stored]:
        """Objects and drafts."""
        with self._translated(prefix):
            client = await self._connected()
            waiting = [PurePosixPath(prefix)]
            while waiting:
                folder = waiting.pop()
                try:
                    async with asyncio.timeout(_ANSWER_S):
                        entries = await client.readdir(str(self._path(str(folder))))
                except asyncssh.SFTPNoSuchFile:
                    continue
                for entry in entries:
                    entry_name = os.fsdecode(entry.filename)
                    if entry.attrs.type != asyncssh.FILEXFER_TYPE_DIRECTORY:
                        name = str(folder / entry_name)
                        yield Stored(name, entry.attrs.size or 0, float(entry.attrs.mtime or 0))
                    elif not entry_name.startswith("."):  # the folder itself and the one above are listed, too
                        waiting.append(folder / entry_name)

    async def delete(self, name: str) -> None:
        try:
            with self._translated(name):
                async with asyncio.timeout(_ANSWER_S):
                    await (await self._connected()).remove(str(self._path(name)))
        except NotFound:
            return

    async def remove_drafts(self, before_s: float) -> None:
        for stored in [one async for one in self._found("")]:
            if _is_draft(stored.name) and stored.modified_at_s < before_s:
                await self.delete(stored.name)

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            await self._connection.wait_closed()
        self._connection = self._client = None

    def _path(self, name: str) -> PurePosixPath:
        return PurePosixPath(self._place.folder) / name

    async def _make_folder(self, client: asyncssh.SFTPClient, folder: PurePosixPath) -> None:
        if str(folder) not in self._folders:
            await client.makedirs(str(folder), asyncssh.SFTPAttrs(permissions=0o700), exist_ok=True)
            self._folders.add(str(folder))

    async def _connected(self) -> asyncssh.SFTPClient:
        async with self._connecting:
            if self._connection is not None and self._connection.is_closed():
                self._connection = self._client = None
            if self._client is None:
                known = asyncssh.import_known_hosts(f"* {self._place.host_key}\n")
                self._connection = await asyncssh.connect(
                    self._place.host,
                    self._place.port,
                    username=self._place.user,
                    client_keys=[str(self._private_key)],
                    known_hosts=known,
                    config=None,
                    agent_path=None,
                    password=None,
                    connect_timeout=_CONNECT_S,
                    keepalive_interval=15,
                )
                self._client = await self._connection.start_sftp_client()
                self._folders.clear()
            return self._client

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except asyncssh.SFTPNoSuchFile as error:
            raise NotFound(f"The backup store has no object {name}", why=str(error), code="no-object") from error
        except (asyncssh.HostKeyNotVerifiable, asyncssh.PermissionDenied, asyncssh.SFTPPermissionDenied) as error:
            raise self._forbidden(error) from error
        except asyncssh.SFTPError as error:
            raise _failed(error) from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise Unavailable(
                f"{self._place.host} does not answer",
                why=str(error) or type(error).__name__,
                todo="Look at the network and at the SSH server there, and try again",
                code="backup-target-unavailable",
            ) from error

    def _forbidden(self, error: Exception) -> Forbidden:
        if isinstance(error, asyncssh.HostKeyNotVerifiable):
            return Forbidden(
                f"{self._place.host} is not the machine that is meant",
                why="Its host key is another than the one that was given",
                todo="Find out why; give the new key only if the machine was set up anew",
                code="wrong-host-key",
            )
        return Forbidden(
            f"{self._place.user} may not write backups on {self._place.host}",
            why=str(error),
            todo="Look at the key and at the rights of the folder there",
            code="backup-target-forbidden",
        )


def _is_draft(name: str) -> bool:
    return PurePosixPath(name).name.startswith(_DRAFT)


def _failed(error: asyncssh.SFTPError) -> InsulaError:
    if error.code in _NO_SPACE:
        return DiskFull("The backup store's disk is full", why=error.reason, todo="Free space there")
    return HostFailure(
        "The backup store failed", why=error.reason, todo="Look at that machine", code="backup-target-failed"
    )
