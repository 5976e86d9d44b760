"""A fake guest: the part of the QEMU guest agent's JSON protocol that Insula speaks.

Source: QEMU Guest Agent Protocol Reference. Like the real one it answers nothing before it is up, serves one client at
a time, and keeps what a client asked before it went away, so that a later client sees stale replies and must resync.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from insula.node.hypervisor.fake import programs

Command = Callable[[Mapping[str, Any]], Awaitable[Any]]

_VERSION = "7.2.0"
_WHILE_FROZEN = frozenset({"guest-ping", "guest-info", "guest-sync", "guest-sync-delimited", "guest-fsfreeze-thaw"})
_MODES = frozenset({"r", "w", "a", "r+", "w+", "a+"})


class GuestError(Exception):
    """Becomes the `error` member of a reply."""

    def __init__(self, description: str, kind: str = "GenericError") -> None:
        super().__init__(description)
        self.kind = kind


class FakeGuest:
    """Executes agent commands. `on_power` is called with `powerdown`, `halt` or `reboot` when the guest asks for it."""

    def __init__(self, name: str, mac: str, root: Path, on_power: Callable[[str], None], instance_id: str = "") -> None:
        self._name = name
        self._instance_id = instance_id
        self._mac = mac
        self._files = programs.GuestFiles(root)
        self._on_power = on_power
        self._open: dict[int, BinaryIO] = {}
        self._runs: dict[int, asyncio.Task[programs.Outcome]] = {}
        self._captures: dict[int, bool] = {}
        self._numbers = itertools.count(1000)
        self._clock_offset_ns = 0
        self.broken_program = ""  # one that always fails
        self.is_frozen = False  # its file systems
        self.on_freeze: Callable[[bool], None] = lambda is_frozen: None
        self._commands: Mapping[str, Command] = {
            "guest-sync": self._sync,
            "guest-sync-delimited": self._sync,
            "guest-ping": self._ping,
            "guest-info": self._info,
            "guest-exec": self._exec,
            "guest-exec-status": self._exec_status,
            "guest-file-open": self._file_open,
            "guest-file-read": self._file_read,
            "guest-file-write": self._file_write,
            "guest-file-flush": self._file_flush,
            "guest-file-close": self._file_close,
            "guest-shutdown": self._shutdown,
            "guest-set-time": self._set_time,
            "guest-get-time": self._get_time,
            "guest-get-host-name": self._host_name,
            "guest-network-get-interfaces": self._interfaces,
            "guest-fsfreeze-freeze": self._freeze,
            "guest-fsfreeze-thaw": self._thaw,
        }

    async def answer(self, line: bytes) -> bytes:
        """The reply to one request line; empty for requests that have none."""
        try:
            request = json.loads(line.replace(b"\xff", b""))
            name = request["execute"]
            arguments = request.get("arguments") or {}
        except (ValueError, KeyError, TypeError, AttributeError):
            return _reply(error=GuestError("JSON parse error"))
        command = self._commands.get(name)
        if command is None:
            return _reply(error=GuestError(f"The command {name} has not been found", "CommandNotFound"))
        if self.is_frozen and name not in _WHILE_FROZEN:
            return _reply(error=GuestError(f"Command {name} has been disabled: the agent is in frozen state"))
        try:
            value = await command(arguments)
        except GuestError as error:
            return _reply(error=error)
        except (KeyError, ValueError, TypeError, binascii.Error) as error:
            return _reply(error=GuestError(f"Invalid parameter: {error}"))
        except OSError as error:
            return _reply(error=GuestError(f"{error.strerror}: {arguments.get('path', '')}"))
        if name == "guest-shutdown":
            return b""
        return (b"\xff" if name == "guest-sync-delimited" else b"") + _reply(value=value)

    async def close(self) -> None:
        """The guest's memory is gone: open files closed, its programs ended."""
        for file in self._open.values():
            file.close()
        self._open.clear()
        runs = list(self._runs.values())
        self._runs.clear()
        for task in runs:
            task.cancel()
        await asyncio.gather(*runs, return_exceptions=True)

    async def _sync(self, arguments: Mapping[str, Any]) -> int:
        return int(arguments["id"])

    async def _ping(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    async def _info(self, _: Mapping[str, Any]) -> dict[str, Any]:
        known = [{"name": name, "enabled": True, "success-response": True} for name in self._commands]
        return {"version": _VERSION, "supported_commands": known}

    async def _exec(self, arguments: Mapping[str, Any]) -> dict[str, int]:
        is_broken = bool(self.broken_program) and arguments["path"].endswith(self.broken_program)
        program = programs.find("false" if is_broken else arguments["path"])
        if program is None:
            raise GuestError(
                f"Guest agent command failed, error was 'Failed to execute child process “{arguments['path']}” "
                "(No such file or directory)'"
            )
        stdin = base64.b64decode(arguments.get("input-data") or "")
        pid = next(self._numbers)
        call = programs.Call(arguments.get("arg") or [], stdin, self._files, self._name, self._instance_id, pid)
        self._runs[pid] = asyncio.create_task(programs.run(program, call))
        self._captures[pid] = bool(arguments.get("capture-output"))
        await asyncio.sleep(0)  # quick programs have ended when the first status is asked for, as in a real guest
        return {"pid": pid}

    async def _exec_status(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        task = self._runs.get(int(arguments["pid"]))
        if task is None:
            raise GuestError("Invalid parameter 'pid'")
        if not task.done():
            return {"exited": False}
        del self._runs[int(arguments["pid"])]
        outcome = task.result()
        status: dict[str, Any] = {"exited": True, "exitcode": outcome.exit_code}
        if self._captures.pop(int(arguments["pid"])):
            if outcome.stdout:
                status["out-data"] = base64.b64encode(outcome.stdout).decode()
            if outcome.stderr:
                status["err-data"] = base64.b64encode(outcome.stderr).decode()
        return status

    async def _file_open(self, arguments: Mapping[str, Any]) -> int:
        mode = str(arguments.get("mode") or "r").replace("b", "")
        if mode not in _MODES:
            raise GuestError(f"invalid file open mode '{mode}'")
        place = self._files.locate(arguments["path"])
        if mode == "r" and programs.is_file(arguments["path"]):
            place = Path(os.devnull)
        if mode[0] != "r":
            place.parent.mkdir(parents=True, exist_ok=True)
        try:
            file: BinaryIO = place.open(mode[0] + "b" + mode[1:])  # type: ignore[assignment]  # the mode is binary
        except OSError as error:
            raise GuestError(f"failed to open file '{arguments['path']}' (mode: '{mode}'): {error.strerror}") from error
        handle = next(self._numbers)
        self._open[handle] = file
        return handle

    def _file(self, arguments: Mapping[str, Any]) -> BinaryIO:
        file = self._open.get(int(arguments["handle"]))
        if file is None:
            raise GuestError(f"handle '{arguments['handle']}' has not been found")
        return file

    async def _file_read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        count = int(arguments.get("count") or 4096)
        if not 0 < count <= 48 * 1024 * 1024:
            raise GuestError(f"value '{count}' is invalid for argument count")
        data = self._file(arguments).read(count)
        return {"count": len(data), "buf-b64": base64.b64encode(data).decode(), "eof": len(data) < count}

    async def _file_write(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        data = base64.b64decode(arguments["buf-b64"])
        count = self._file(arguments).write(data[: arguments.get("count", len(data))])
        return {"count": count, "eof": False}

    async def _file_flush(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self._file(arguments).flush()
        return {}

    async def _file_close(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self._file(arguments).close()
        del self._open[int(arguments["handle"])]
        return {}

    async def _shutdown(self, arguments: Mapping[str, Any]) -> None:
        mode = arguments.get("mode", "powerdown")
        if mode not in {"powerdown", "halt", "reboot"}:
            raise GuestError("mode is invalid (valid values are: halt|powerdown|reboot")
        self._on_power(mode)

    async def _set_time(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if "time" in arguments:
            self._clock_offset_ns = int(arguments["time"]) - time.time_ns()
        return {}

    async def _get_time(self, _: Mapping[str, Any]) -> int:
        return time.time_ns() + self._clock_offset_ns

    async def _host_name(self, _: Mapping[str, Any]) -> dict[str, str]:
        return {"host-name": self._files.hostname(self._name)}

    async def _freeze(self, _: Mapping[str, Any]) -> int:
        self._set_frozen(True)
        return 1

    async def _thaw(self, _: Mapping[str, Any]) -> int:
        count = int(self.is_frozen)
        self._set_frozen(False)
        return count

    def _set_frozen(self, is_frozen: bool) -> None:
        if self.is_frozen is not is_frozen:
            self.is_frozen = is_frozen
            self.on_freeze(is_frozen)

    async def _interfaces(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        loopback = {"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8}
        own = {"ip-address": "10.0.2.15", "ip-address-type": "ipv4", "prefix": 24}
        return [
            {"name": "lo", "hardware-address": "00:00:00:00:00:00", "ip-addresses": [loopback]},
            {"name": "eth0", "hardware-address": self._mac, "ip-addresses": [own]},
        ]


def _reply(*, value: Any = None, error: GuestError | None = None) -> bytes:
    body: dict[str, Any] = {"return": value}
    if error is not None:
        body = {"error": {"class": error.kind, "desc": str(error)}}
    return json.dumps(body).encode() + b"\n"
