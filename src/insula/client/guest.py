"""Inside the guest: commands, files, console."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from insula.base.errors import NotFound
from insula.client.connection import Connection, path_of
from insula.client.decode import build
from insula.client.saving import save
from insula.domain.instance import Instance
from insula.protocol.node import ExecResult

if TYPE_CHECKING:
    from insula.client.websocket import WebSocket

_CHUNK_BYTES = 65536
_BYTES = {"Accept": "application/octet-stream, application/problem+json"}
_ANSWER_EXTRA_S = 15.0  # the service answers with its own timeout error before the client gives up


class Guest:
    """`instance` is a name or an id everywhere; the instance must run and have an agent (not for the console)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, instance: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0) -> ExecResult:
        """Run a program as root in the guest, to its end. `truncated` tells that output was cut at the service's limit.

        Raises GuestFailure when it does not end in time (it may go on in the guest).
        """
        body = {"argv": list(argv), "stdin": base64.b64encode(stdin).decode(), "timeout_s": timeout_s}
        answer = self._connection.request(
            "POST", path_of("instances", instance, "exec"), body=body, timeout_s=timeout_s + _ANSWER_EXTRA_S
        )
        return build(ExecResult, answer)

    def read_file(self, instance: str, path: str) -> Iterator[bytes]:
        """The content of a file in the guest, in pieces. Raises NotFound before the first piece."""
        with self._connection.stream(
            "GET", path_of("instances", instance, "files"), query={"path": path}, headers=_BYTES, timeout_s=60.0
        ) as response:
            while chunk := response.read(_CHUNK_BYTES):
                yield chunk

    def write_file(self, instance: str, path: str, content: Iterable[bytes], *, mode: int = 0o644) -> int:
        """Write a file in the guest (root's, `mode`); the number of bytes written. Repeating it replaces the file."""
        with self._connection.stream(
            "PUT",
            path_of("instances", instance, "files"),
            query={"path": path, "mode": f"{mode:o}"},
            content=content,
            timeout_s=120.0,
        ) as response:
            return int(json.loads(response.read())["size_bytes"])

    def upload(self, instance: str, file: Path, path: str, *, mode: int | None = None) -> int:
        """Copy a file of ours in, with its mode unless another is given; the number of bytes. Raises NotFound."""
        if not file.is_file():
            pack = "Pack a folder first: tar -cf - FOLDER | insula cp - INSTANCE:/tmp/folder.tar"
            raise NotFound(
                f"There is no file {file}",
                why="It is a folder" if file.is_dir() else f"It was looked for from {Path.cwd()}",
                todo=pack if file.is_dir() else "Check the path",
                code="no-such-file",
            )
        wanted = file.stat().st_mode & 0o777 if mode is None else mode
        return self.write_file(instance, path, _chunks(file), mode=wanted)

    def download(self, instance: str, path: str, file: Path, *, mode: int | None = None) -> int:
        """Copy a file of the guest out to `file`, as new files are unless `mode` is given; the number of bytes."""
        return save(self.read_file(instance, path), file, mode)

    def console_log(self, instance: str, *, max_bytes: int = 65536) -> bytes:
        """The last bytes that the guest wrote on its serial console."""
        with self._connection.stream(
            "GET", path_of("instances", instance, "console", "log"), query={"max_bytes": max_bytes}, headers=_BYTES
        ) as response:
            return response.read()

    def attach(self, instance: str) -> WebSocket:
        """The serial console as a two-way byte stream; close it to detach."""
        # Imported on use: its cryptography costs `insula list` 10 ms.
        from insula.client.websocket import WebSocket  # noqa: PLC0415

        return WebSocket.connect(self._connection, path_of("instances", instance, "console"))

    def set_hostname(self, instance: str, hostname: str) -> Instance:
        """Change the guest's host name, at once when it runs and for later boots."""
        answer = self._connection.request(
            "PUT", path_of("instances", instance, "hostname"), body={"hostname": hostname}
        )
        return build(Instance, answer)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            yield chunk
