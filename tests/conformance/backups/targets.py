"""A target of each kind, with a real server behind it where there is one: rclone's for S3, OpenSSH's for SFTP."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import asyncssh

from insula.node.backups.folder import FolderTarget
from insula.node.backups.s3 import S3Place, S3Target
from insula.node.backups.ssh import SshPlace, SshTarget
from insula.node.backups.target import Target
from tests.private_service import free_port

SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
_UP_S = 20.0
_RCLONE = Path(sys.executable).with_name("rclone")


@contextlib.asynccontextmanager
async def folder_target(top: Path) -> AsyncIterator[FolderTarget]:
    (top / "store").mkdir()
    yield FolderTarget(top / "store")


@contextlib.asynccontextmanager
async def s3_target(top: Path) -> AsyncIterator[S3Target]:
    async with s3_server(top) as (endpoint, access_key, secret_key):
        yield S3Target(S3Place("backups", "of/insula", endpoint), access_key, secret_key)


@contextlib.asynccontextmanager
async def s3_server(top: Path) -> AsyncIterator[tuple[str, str, str]]:
    """Its URL, access key and secret key; it has a bucket `backups`, which is a folder below `top`."""
    (top / "s3" / "backups").mkdir(parents=True)
    port, access_key, secret_key = free_port(), secrets.token_hex(8), secrets.token_hex(16)
    keys = ("--auth-key", f"{access_key},{secret_key}")
    place = ("--addr", f"127.0.0.1:{port}", "--config", str(top / "no-config"), "--vfs-cache-mode", "off")
    with (top / "s3.log").open("wb") as log:
        server = subprocess.Popen([_RCLONE, "serve", "s3", *keys, *place, str(top / "s3")], stdout=log, stderr=log)
    try:
        await until_it_listens(port)
        yield f"http://127.0.0.1:{port}", access_key, secret_key
    finally:
        server.terminate()
        server.wait(10)


@contextlib.asynccontextmanager
async def ssh_target(top: Path) -> AsyncIterator[SshTarget]:
    async with ssh_server(top) as (place, key):
        target = SshTarget(place, key)
        yield target
        await target.close()


@contextlib.asynccontextmanager
async def ssh_server(top: Path) -> AsyncIterator[tuple[SshPlace, Path]]:
    """Where it is, and a private key that it accepts."""
    host_key, user_key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    user_key.write_private_key(str(top / "id"))
    user_key.write_public_key(str(top / "authorized"))
    sessions: set[asyncio.Task[None]] = set()
    server = await asyncssh.create_server(
        lambda: _Server(sessions),
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=str(top / "authorized"),
        encoding=None,
    )
    try:
        line = host_key.export_public_key().decode().strip()
        yield SshPlace("127.0.0.1", "backup", str(top / "remote"), line, server.get_port()), top / "id"
    finally:
        server.close()
        await server.wait_closed()
        for session in sessions:
            if not session.cancelling():  # a second time would cut off the end of its program
                session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)


class _Server(asyncssh.SSHServer):
    def __init__(self, sessions: set[asyncio.Task[None]]) -> None:
        self._sessions = sessions

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        return _SftpSession(self._sessions)


class _SftpSession(asyncssh.SSHServerSession[bytes]):
    """The distribution's SFTP server on the other end of a connection, as sshd would start it."""

    def __init__(self, sessions: set[asyncio.Task[None]]) -> None:
        self._sessions = sessions
        self._received: asyncio.Queue[bytes] = asyncio.Queue()
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._serving: asyncio.Task[None] | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == "sftp"

    def session_started(self) -> None:
        self._serving = asyncio.create_task(self._serve())
        self._sessions.add(self._serving)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._received.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._serving is not None:
            self._serving.cancel()

    async def _serve(self) -> None:
        pipe = asyncio.subprocess.PIPE
        program = await asyncio.create_subprocess_exec(str(SFTP_SERVER), stdin=pipe, stdout=pipe)
        assert program.stdin is not None
        assert program.stdout is not None
        answering = asyncio.create_task(self._answer(program.stdout))
        try:
            while True:
                program.stdin.write(await self._received.get())
                await program.stdin.drain()
        finally:
            answering.cancel()
            await asyncio.wait({answering})
            program.kill()
            await program.communicate()  # its transport closes when all that it printed has been read

    async def _answer(self, output: asyncio.StreamReader) -> None:
        assert self._channel is not None
        while data := await output.read(1 << 16):
            self._channel.write(data)


KINDS: Mapping[str, Callable[[Path], AbstractAsyncContextManager[Target]]] = {
    "folder": folder_target,
    "s3": s3_target,
    "ssh": ssh_target,
}


async def until_it_listens(port: int) -> None:
    async with asyncio.timeout(_UP_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
