"""The one place that starts other programs.

Argument lists only, never a shell; an explicit environment; closed stdin; a timeout; the output is kept for the error
and secrets are cut out of it. :func:`run` waits for the end of a program, :func:`detach` starts one that outlives us,
:func:`await_apart` is for callers that are not asynchronous.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from insula.base.errors import CommandFailed, CommandMissing, DiskFull

_T = TypeVar("_T")

# Ordinary users of Debian lack /usr/sbin in PATH, and mkfs, nft and slirp4netns live there or in /usr/bin.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_OUTPUT_TAIL_CHARS = 4000
_LAUNCH_TIMEOUT_S = 30.0
_KILLED_S = 10.0

# Which Debian package holds a program that we start; the error names it.
PACKAGE_OF: Mapping[str, str] = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "bwrap": "bubblewrap",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "slirp4netns": "slirp4netns",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",
    "mke2fs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "qemu-nbd": "qemu-utils",
    "mkfs.xfs": "xfsprogs",
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "dnsmasq": "dnsmasq-base",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
    "gpgv": "gpgv",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


@dataclass(frozen=True)
class Completed:
    """A program that ended. `stdout` and `stderr` are whole, undecoded bytes."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")


def await_apart(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work`, run in a thread of its own: ours may have an event loop already, as in a notebook."""
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(asyncio.run, work).result()


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that programs get: a fixed PATH, C.UTF-8, the home folder, the proxy settings; nothing else."""
    keep = (
        "HOME",
        "TMPDIR",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "XDG_RUNTIME_DIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    )
    env = {name: os.environ[name] for name in keep if name in os.environ}
    return env | {"PATH": SEARCH_PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"} | dict(extra or {})


def find_program(name: str) -> str:
    """The absolute path of a program.

    Raises :class:`CommandMissing` with the package to install.
    """
    found = shutil.which(name, path=SEARCH_PATH)
    if found is None:
        package = PACKAGE_OF.get(name, name)
        raise CommandMissing(
            f"The program {name} is not installed",
            why=f"{name} was not found in {SEARCH_PATH}",
            todo=f"Install it: sudo apt-get install {package}",
        )
    return found


def redact(text: str, secrets: Sequence[str]) -> str:
    """`text` with every secret replaced by `***`."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    secrets: Sequence[str] = (),
    check: bool = True,
    on_line: Callable[[str], None] | None = None,
) -> Completed:
    """Run a program to its end.

    `env` is added to :func:`clean_environment`. `on_line` sees each line of standard error while it runs (progress).
    The program gets its own process group, which is killed as a whole on timeout and on cancellation.

    Raises :class:`CommandMissing`, :class:`CommandFailed` (non-zero exit when `check`, or timeout) and
    :class:`DiskFull` (the program's own words say so).
    """
    args = [find_program(argv[0]) if "/" not in argv[0] else argv[0], *argv[1:]]
    process = await _started(
        *args,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(env),
        cwd=cwd,
        pass_fds=tuple(pass_fds),
    )
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await _communicate(process, stdin, on_line)
    except TimeoutError as error:
        await _kill_group(process)
        shown = redact(" ".join(argv), secrets)
        raise CommandFailed(
            f"{argv[0]} did not end within {timeout_s:g} s",
            why=f"Command: {shown}",
            todo="Try again; if it happens again, look at the host's load with `insula doctor`",
            code="command-timeout",
        ) from error
    except BaseException:
        await _kill_group(process)
        raise
    done = Completed(tuple(argv), process.returncode or 0, stdout, stderr)
    if check and done.returncode != 0:
        raise _failure(done, secrets)
    return done


async def _started(*args: str, **options: Any) -> asyncio.subprocess.Process:
    """A program that runs. A cancellation waits until it does, and kills it then with all that it has started.

    Without us, asyncio (3.11) would kill the program alone, and then wait for ever for pipes that it had not opened.
    """
    starting = asyncio.ensure_future(asyncio.create_subprocess_exec(*args, start_new_session=True, **options))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting})
        if not starting.cancelled() and starting.exception() is None:
            await _kill_group(starting.result())
        raise


def _failure(done: Completed, secrets: Sequence[str]) -> CommandFailed | DiskFull:
    output = redact((done.stderr or done.stdout).decode("utf-8", "replace").strip(), secrets)[-_OUTPUT_TAIL_CHARS:]
    shown = redact(" ".join(done.argv), secrets)
    if "No space left on device" in output:
        return DiskFull(
            f"{done.argv[0]} found no space left on the disk",
            why=output,
            todo="Free space on the disk that holds Insula's folder; `insula doctor` shows how much is left",
        )
    return CommandFailed(
        f"{done.argv[0]} failed with exit status {done.returncode}",
        why=f"It printed: {output or '(nothing)'}",
        todo=f"Run it by hand to see more: {shown}",
    )


async def _communicate(
    process: asyncio.subprocess.Process, stdin: bytes | None, on_line: Callable[[str], None] | None
) -> tuple[bytes, bytes]:
    if on_line is None:
        return await process.communicate(stdin)
    assert process.stderr is not None and process.stdout is not None  # noqa: PT018, S101 - both were asked for as pipes
    lines: list[bytes] = []

    async def read_stderr(stream: asyncio.StreamReader) -> None:
        async for line in _lines(stream):
            lines.append(line)
            on_line(line.decode("utf-8", "replace").rstrip())

    async with asyncio.TaskGroup() as group:
        group.create_task(read_stderr(process.stderr))
        out = group.create_task(process.stdout.read())
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
    await process.wait()
    return out.result(), b"".join(lines)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    # readline() refuses lines over its limit; progress bars write long ones without a newline.
    rest = b""
    while chunk := await stream.read(65536):
        *whole, rest = (rest + chunk.replace(b"\r", b"\n")).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


async def _kill_group(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # asyncio sees its end only when what it printed has been read; somebody outside of the group may keep that open.
    with contextlib.suppress(ProcessLookupError, TimeoutError):
        async with asyncio.timeout(_KILLED_S):
            await process.communicate()


async def detach(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> None:
    """Start a program that goes on when we end: own session, closed stdin, output appended to `log` (mode 0600).

    It is a child of init from the first moment, so nothing of ours (a closing event loop, a collected process object)
    can end it, and nobody here has to reap it. Its process id comes from its own sign of life, which the caller waits
    for anyway: the peer credentials of its socket, or what it writes to a passed descriptor.

    Raises :class:`CommandMissing`; :class:`CommandFailed` when it could not be started at all.
    """
    args = [find_program(argv[0]) if "/" not in argv[0] else argv[0], *argv[1:]]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        launcher = await _started(
            find_program("setsid"),
            "--fork",
            *args,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=clean_environment(env),
            cwd=cwd or Path("/"),
            pass_fds=tuple(pass_fds),
        )
    finally:
        os.close(output)
    try:
        async with asyncio.timeout(_LAUNCH_TIMEOUT_S):
            returncode = await launcher.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            launcher.kill()
        raise
    if returncode != 0:
        raise CommandFailed(
            f"{argv[0]} could not be started",
            why=f"setsid ended with exit status {returncode}; {log} has what it printed",
            todo="Look at the host's memory and process limits with `insula doctor`",
        )
