"""The few programs of the fake guest's imaginary /bin."""

from __future__ import annotations

import asyncio
import itertools
import posixpath
import shlex
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path


class GuestFiles:
    """The guest's file tree in a folder of the host; paths never leave it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def locate(self, path: str) -> Path:
        """Where the guest's absolute `path` lies on the host."""
        return self._root / posixpath.normpath(f"/{path}").lstrip("/")

    def hostname(self, default: str) -> str:
        place = self.locate("/etc/hostname")
        return place.read_text().strip() if place.exists() else default

    def set_hostname(self, name: str) -> None:
        place = self.locate("/etc/hostname")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(name + "\n")


@dataclass(frozen=True)
class Call:
    """One run of a program: `arguments` without its name."""

    arguments: Sequence[str]
    stdin: bytes
    files: GuestFiles
    name: str  # the machine's, which is the host name until one is set
    instance_id: str = ""  # what the guest's seed says
    pid: int = 0


@dataclass(frozen=True)
class Outcome:
    exit_code: int = 0
    stdout: bytes = b""
    stderr: bytes = b""


_PIPE_POLL_S = 0.001

Program = Callable[[Call], Awaitable[Outcome]]


async def _echo(call: Call) -> Outcome:
    return Outcome(stdout=(" ".join(call.arguments) + "\n").encode())


async def _id(_: Call) -> Outcome:
    return Outcome(stdout=b"uid=0(root) gid=0(root) groups=0(root)\n")


async def _true(_: Call) -> Outcome:
    return Outcome()


async def _false(_: Call) -> Outcome:
    return Outcome(1)


async def _cat(call: Call) -> Outcome:
    out = bytearray() if call.arguments else bytearray(call.stdin)
    for path in call.arguments:
        try:
            out += call.stdin if path == "-" else call.files.locate(path).read_bytes()
        except OSError as error:
            return Outcome(1, bytes(out), f"cat: {path}: {error.strerror}\n".encode())
    return Outcome(stdout=bytes(out))


async def _uname(call: Call) -> Outcome:
    name = call.files.hostname(call.name)
    whole = f"Linux {name} 6.1.0-fake #1 SMP x86_64 GNU/Linux\n"
    parts = {"-a": whole, "-n": f"{name}\n", "-r": "6.1.0-fake\n", "-m": "x86_64\n"}
    return Outcome(stdout=parts.get(call.arguments[0] if call.arguments else "", "Linux\n").encode())


async def _hostname(call: Call) -> Outcome:
    if not call.arguments:
        return Outcome(stdout=f"{call.files.hostname(call.name)}\n".encode())
    call.files.set_hostname(call.arguments[-1])
    return Outcome()


async def _sleep(call: Call) -> Outcome:
    await asyncio.sleep(float(call.arguments[0]))
    return Outcome()


async def _chmod(call: Call) -> Outcome:
    call.files.locate(call.arguments[1]).chmod(int(call.arguments[0], 8) | 0o600)
    return Outcome()


async def _mv(call: Call) -> Outcome:
    source, target = (call.files.locate(path) for path in call.arguments[-2:])
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    return Outcome()


async def _rm(call: Call) -> Outcome:
    for path in call.arguments:
        if not path.startswith("-"):
            place = call.files.locate(path)
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok="-f" in call.arguments)
    return Outcome()


async def _mkdir(call: Call) -> Outcome:
    for path in call.arguments:
        if not path.startswith("-"):
            call.files.locate(path).mkdir(parents=True, exist_ok=True)
    return Outcome()


async def _env(call: Call) -> Outcome:
    """`env A=B …`: shows the variables; a program after them runs, but none in this guest looks at any."""
    words = list(call.arguments)
    variables = list(itertools.takewhile(lambda word: "=" in word, words))
    rest = words[len(variables) :]
    if not rest or rest == ["env"]:
        return Outcome(stdout="".join(f"{each}\n" for each in variables).encode())
    program = find(rest[0])
    if program is None:
        return Outcome(127, b"", f"env: {rest[0]}: No such file or directory\n".encode())
    return await program(replace(call, arguments=rest[1:]))


async def _renew(call: Call) -> Outcome:
    """Notes who the guest is now: Unix time and MAC, with 64 random bytes on standard input; says its instance's id.

    With `settle` and `rehearse` there is nothing to do in this guest.
    """
    if call.arguments in (["settle"], ["rehearse"]):
        return Outcome()
    if call.arguments == ["wait"]:
        return await _wait_for_instance(call)
    unix_time, mac = call.arguments
    if len(call.stdin) != 64 or not unix_time.isdigit():
        return Outcome(2, b"", b"renew: 64 random bytes, a time and a MAC are needed\n")
    place = call.files.locate("/var/lib/insula/renewed")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"{mac}\n")
    ready = call.files.locate("/run/insula/ready")
    ready.parent.mkdir(parents=True, exist_ok=True)
    ready.touch()
    return Outcome(stdout=f"{call.instance_id}\n".encode())


async def _wait_for_instance(call: Call) -> Outcome:
    """Its pipe is a file: 64 random bytes, then the time, the instance's id, its host name, its keys, an empty line."""
    call.files.locate("/etc/hostname").unlink(missing_ok=True)  # should it boot instead, it has its machine's name
    pipe = call.files.locate("/run/insula/adoption")
    pipe.write_bytes(b"")
    pipe.with_name(f"{pipe.name}.{call.pid}").touch()
    while not pipe.read_bytes()[64:].endswith(b"\n\n"):  # noqa: ASYNC110 - it stands for a pipe
        await asyncio.sleep(_PIPE_POLL_S)
    _, instance_id, hostname, *keys = pipe.read_bytes()[64:].decode().splitlines()[:-1]
    call.files.set_hostname(hostname)
    place = call.files.locate("/root/.ssh/authorized_keys")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(f"{key}\n" for key in keys))
    return Outcome(stdout=f"{instance_id}\n".encode())


async def _grow_disk(call: Call) -> Outcome:
    """The question about a disk that grew: its own has the root, others what a test has noted as mounted."""
    mounted = call.files.locate(f"/run/mounted/{call.arguments[0]}")
    if call.arguments[0] == "disk":
        return Outcome(stdout=b"grown /\n")
    return Outcome(stdout=f"grown {mounted.read_text()}\n".encode() if mounted.exists() else b"unmounted\n")


async def _use_of_disk(call: Call) -> Outcome:
    """The question whether a disk is used."""
    mounted = call.files.locate(f"/run/mounted/{call.arguments[0]}")
    return Outcome(stdout=f"mounted {mounted.read_text()}\n".encode() if mounted.exists() else b"")


async def _sh(call: Call) -> Outcome:
    """`sh -c` of one simple command; there are no pipes, variables or redirections in this guest.

    A script on standard input is one of those that Insula brings, and is known by its first line.
    """
    if call.arguments[:1] == ["-s"]:
        name = call.stdin.decode().partition("\n")[0].removeprefix("# ")
        return await _SCRIPTS[name](replace(call, arguments=call.arguments[2:]))
    words = shlex.split(call.arguments[call.arguments.index("-c") + 1])
    if words[:1] == ["exit"]:
        return Outcome(int(words[1]) if len(words) > 1 else 0)
    program = find(words[0]) if words else _true
    if program is None:
        return Outcome(127, b"", f"sh: {words[0]}: not found\n".encode())
    return await program(replace(call, arguments=words[1:]))


_SCRIPTS: Mapping[str, Program] = {"grow-disk": _grow_disk, "use-of-disk": _use_of_disk}

_PROGRAMS: Mapping[str, Program] = {
    "cat": _cat,
    "chmod": _chmod,
    "echo": _echo,
    "env": _env,
    "false": _false,
    "hostname": _hostname,
    "id": _id,
    "kill": _true,
    "mkdir": _mkdir,
    "mv": _mv,
    "renew": _renew,
    "rm": _rm,
    "sh": _sh,
    "sleep": _sleep,
    "sync": _true,
    "true": _true,
    "uname": _uname,
}


def find(path: str) -> Program | None:
    """The program of this name or path, or None."""
    return _PROGRAMS.get(posixpath.basename(path))


def is_file(path: str) -> bool:
    """Whether the guest has a file of this path because it is one of its programs."""
    return path.startswith(("/bin/", "/usr/")) and find(path) is not None


async def run(program: Program, call: Call) -> Outcome:
    """Run it; wrong arguments and missing files end with status 1 and a message, as real programs do."""
    try:
        return await program(call)
    except (OSError, ValueError, IndexError) as error:
        return Outcome(1, b"", f"{error}\n".encode())
