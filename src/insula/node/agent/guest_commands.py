"""What Insula does inside a guest through its agent: run programs, copy files, set the host name and the clock."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import posixpath
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from insula.base.clock import monotonic_s
from insula.base.errors import GuestFailure, GuestRefused, InsulaError, InvalidInput, Unsupported
from insula.node.agent.guest import GuestAgent
from insula.protocol.node import ExecResult

# The agent runs as a service without these; people expect them of a root command.
_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "USER=root",
    "LOGNAME=root",
    "SHELL=/bin/sh",
    "LANG=C.UTF-8",
)
_EXEC_REPLY_BYTES = 48 * 1024 * 1024  # the agent keeps 16 MiB of each stream; base64 makes 4/3 of it
_STDIN_BYTES = 16 * 1024 * 1024
_FIRST_POLL_S = 0.005
_LONGEST_POLL_S = 0.25
_POLL_GROWTH = 1.25  # a program's end is seen within a quarter of the time that it took; each look takes time from it
_FILE_CHUNK_BYTES = 192 * 1024  # a multiple of 3, so that chunks encode without padding
_CALL_S = 30.0
_ARGUMENTS_BYTES = 128 * 1024  # Linux's own limit for one argument; the sum is bounded the same


async def execute(agent: GuestAgent, argv: Sequence[str], stdin: bytes, timeout_s: float) -> ExecResult:
    """Run a program to its end; `truncated` when it printed more than the agent keeps (16 MiB a stream).

    A program that is killed by signal N has exit code 128 + N. On time-out it is killed.
    """
    deadline_s = monotonic_s() + timeout_s
    pid = await begin(agent, argv, stdin, min(timeout_s, _CALL_S))
    found = await end_of(agent, pid, deadline_s - monotonic_s())
    if found is not None:
        return found
    await _kill(agent, pid)
    raise GuestFailure(
        f"{argv[0]} did not end within {timeout_s:g} s",
        why="It was still running in the guest and has been killed",
        todo="Give it more time with --timeout",
        code="exec-timeout",
    )


async def begin(agent: GuestAgent, argv: Sequence[str], stdin: bytes, timeout_s: float = _CALL_S) -> int:
    """Start a program and return its pid; see :func:`end_of`."""
    _check(argv, stdin)
    arguments: dict[str, Any] = {
        "path": argv[0],
        "arg": list(argv[1:]),
        "env": list(_ENVIRONMENT),
        "capture-output": True,
    }
    if stdin:
        arguments["input-data"] = base64.b64encode(stdin).decode()
    reply = await agent.call("guest-exec", arguments, timeout_s=timeout_s)
    if not isinstance(reply, dict) or not isinstance(reply.get("pid"), int):
        raise _nonsense("guest-exec")
    return int(reply["pid"])


async def end_of(agent: GuestAgent, pid: int, timeout_s: float) -> ExecResult | None:
    """How a program that was begun has ended, which can be asked but once; None while it runs on after that time."""
    deadline_s = monotonic_s() + timeout_s
    poll_s = _FIRST_POLL_S
    while True:
        status = await agent.call(
            "guest-exec-status", {"pid": pid}, timeout_s=_CALL_S, max_reply_bytes=_EXEC_REPLY_BYTES
        )
        if not isinstance(status, dict):
            raise _nonsense("guest-exec-status")
        if status.get("exited"):
            return _result(status)
        if monotonic_s() >= deadline_s:
            return None
        await asyncio.sleep(min(poll_s, max(0.0, deadline_s - monotonic_s())))
        poll_s = min(poll_s * _POLL_GROWTH, _LONGEST_POLL_S)


async def read_file(agent: GuestAgent, path: str) -> AsyncIterator[bytes]:
    """The file's content in chunks. The file is opened before this returns, so that errors come early.

    Raises :class:`GuestRefused` with the guest's words (no such file, a directory).
    """
    _check_path(path)
    handle = await agent.call("guest-file-open", {"path": path, "mode": "r"}, timeout_s=_CALL_S)
    return _chunks(agent, handle)


async def write_file(agent: GuestAgent, path: str, data: AsyncIterator[bytes], mode: int) -> int:
    """Write a file and return its size. It gets its name when it is whole; an interrupted copy leaves nothing."""
    _check_path(path)
    if not 0 <= mode <= 0o7777:
        raise InvalidInput(f"{mode:o} is no file mode", why="A mode is 0 to 7777", todo="Use one like 0644")
    draft = f"{path}.insula-{secrets.token_hex(4)}"
    handle = await agent.call("guest-file-open", {"path": draft, "mode": "w"}, timeout_s=_CALL_S)
    try:
        try:
            written = await _write_all(agent, handle, data)
        finally:
            await agent.call("guest-file-close", {"handle": handle}, timeout_s=_CALL_S)
        await _must(agent, ("chmod", f"{mode:04o}", draft))
        # -T: a directory of that name must not swallow the file.
        await _must(agent, ("mv", "-f", "-T", draft, path))
        return written
    except BaseException:
        with contextlib.suppress(InsulaError):
            await asyncio.shield(execute(agent, ("rm", "-f", draft), b"", _CALL_S))
        raise


async def set_hostname(agent: GuestAgent, hostname: str) -> None:
    """Set it now and for the next boots."""
    await write_file(agent, "/etc/hostname", _once(f"{hostname}\n".encode()), 0o644)
    await _must(agent, ("hostname", hostname))


async def set_time(agent: GuestAgent) -> None:
    """Set the guest's clock to the host's."""
    await agent.call("guest-set-time", {"time": time.time_ns()}, timeout_s=_CALL_S)


async def has_address(agent: GuestAgent) -> bool:
    """Whether the guest has an IPv4 address, or no network card that could get one."""
    found = await agent.call("guest-network-get-interfaces", timeout_s=_CALL_S)
    if not isinstance(found, list):
        raise _nonsense("guest-network-get-interfaces")
    cards = [card for card in found if isinstance(card, dict) and card.get("name") != "lo"]
    addresses = [address for card in cards for address in card.get("ip-addresses") or ()]
    return not cards or any(isinstance(one, dict) and one.get("ip-address-type") == "ipv4" for one in addresses)


async def mend_clock(agent: GuestAgent) -> None:
    """Tell a guest that stood still what time it is; it need not listen."""
    with contextlib.suppress(GuestFailure, Unsupported):
        await set_time(agent)


async def exists(agent: GuestAgent, path: str) -> bool:
    """Whether the guest can open the file."""
    try:
        handle = await agent.call("guest-file-open", {"path": path, "mode": "r"}, timeout_s=_CALL_S)
    except GuestRefused:
        return False
    await agent.call("guest-file-close", {"handle": handle}, timeout_s=_CALL_S)
    return True


async def open_pipe(agent: GuestAgent, path: str) -> int:
    """A handle for :func:`tell_pipe`: a named pipe is opened without waiting for who reads it."""
    return int(await agent.call("guest-file-open", {"path": path, "mode": "r+"}, timeout_s=_CALL_S))


async def tell_pipe(agent: GuestAgent, handle: int, data: bytes) -> None:
    """Write to a pipe what it has room for (64 KiB), and close it."""
    await _write_chunk(agent, handle, data)
    await agent.call("guest-file-close", {"handle": handle}, timeout_s=_CALL_S)


def _check(argv: Sequence[str], stdin: bytes) -> None:
    problem = ""
    if not argv or not argv[0]:
        problem = "There is no program to run"
    elif any("\0" in word for word in argv):
        problem = "An argument holds a zero byte"
    elif sum(len(word.encode("utf-8", "surrogateescape")) for word in argv) > _ARGUMENTS_BYTES:
        problem = f"The arguments are longer than {_ARGUMENTS_BYTES} bytes"
    elif len(stdin) > _STDIN_BYTES:
        problem = f"The standard input is longer than {_STDIN_BYTES} bytes"
    if problem:
        raise InvalidInput(
            "This command cannot be run in a guest",
            why=problem,
            todo="Copy large data in with `insula copy`, then run the command on the file",
            code="invalid-command",
            fields={"argv": problem},
        )


def _check_path(path: str) -> None:
    if not posixpath.isabs(path) or "\0" in path or len(path) > 4096 or path.endswith("/"):
        rule = "an absolute path of a file, 4096 characters at most"
        raise InvalidInput(
            f"{path[:80]!r} is no path of a file in a guest",
            why=f"It must be {rule}",
            todo="Give one like /root/notes.txt",
            code="invalid-path",
            fields={"path": rule},
        )


def _result(status: dict[str, Any]) -> ExecResult:
    signal = status.get("signal")
    code = 128 + signal if isinstance(signal, int) else status.get("exitcode", 0)
    if not isinstance(code, int):
        raise _nonsense("guest-exec-status")
    return ExecResult(
        code,
        _decode(status.get("out-data", ""), "guest-exec-status"),
        _decode(status.get("err-data", ""), "guest-exec-status"),
        bool(status.get("out-truncated") or status.get("err-truncated")),
    )


async def _kill(agent: GuestAgent, pid: int) -> None:
    with contextlib.suppress(GuestFailure):
        await begin(agent, ("kill", "-9", str(pid)), b"")


async def _must(agent: GuestAgent, argv: Sequence[str]) -> None:
    done = await execute(agent, argv, b"", _CALL_S)
    if done.exit_code != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[:1000]
        raise GuestFailure(
            f"{argv[0]} failed in the guest",
            why=said or f"Its exit code was {done.exit_code}",
            todo="Look at the path and the free space inside the guest",
            code="guest-command-failed",
        )


async def _chunks(agent: GuestAgent, handle: int) -> AsyncIterator[bytes]:
    try:
        while True:
            reply = await agent.call(
                "guest-file-read", {"handle": handle, "count": _FILE_CHUNK_BYTES}, timeout_s=_CALL_S
            )
            data = _decode(reply.get("buf-b64", "") if isinstance(reply, dict) else None, "guest-file-read")
            if data:
                yield data
            if not data or reply.get("eof"):
                return
    finally:
        with contextlib.suppress(GuestFailure):
            await agent.call("guest-file-close", {"handle": handle}, timeout_s=_CALL_S)


async def _write_all(agent: GuestAgent, handle: int, data: AsyncIterator[bytes]) -> int:
    written = 0
    async for piece in data:
        for start in range(0, len(piece), _FILE_CHUNK_BYTES):
            chunk = piece[start : start + _FILE_CHUNK_BYTES]
            await _write_chunk(agent, handle, chunk)
            written += len(chunk)
    return written


async def _write_chunk(agent: GuestAgent, handle: int, chunk: bytes) -> None:
    arguments = {"handle": handle, "buf-b64": base64.b64encode(chunk).decode()}
    reply = await agent.call("guest-file-write", arguments, timeout_s=_CALL_S)
    if not isinstance(reply, dict) or reply.get("count") != len(chunk):
        raise GuestFailure(
            "The guest wrote a part of the data only",
            why=f"It took {reply.get('count') if isinstance(reply, dict) else 'nothing'} of {len(chunk)} bytes",
            todo="Look at the free space inside the guest",
            code="guest-short-write",
        )


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _decode(text: Any, command: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise _nonsense(command) from error


def _nonsense(command: str) -> GuestFailure:
    return GuestFailure(
        "The guest agent answers nonsense",
        why=f"Its reply to {command} has not the form of the protocol",
        todo="The system inside may be broken or hostile; look at it over SSH or its console, or rebuild it",
        code="guest-nonsense",
    )
