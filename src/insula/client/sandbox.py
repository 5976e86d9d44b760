"""Sandboxes: instances that live as long as a block of Python, and no longer than their lease when that dies."""

from __future__ import annotations

import contextlib
import logging
import secrets
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from insula.base.errors import Conflict, InsulaError, InvalidInput, NotFound, ProgramFailed
from insula.client import known_hosts, ssh_line
from insula.client.instances import Instances
from insula.client.lease_keeper import LeaseKeeper
from insula.client.removal import remove
from insula.domain.access import LEASE_SUBJECT
from insula.domain.instance import Instance, Protocol
from insula.domain.operation import Operation, Verb

if TYPE_CHECKING:
    from insula.client.client import Client

log = logging.getLogger(__name__)

TAG = "sandbox"
_RENEWAL_TIMEOUT_S = 10.0
_SHOWN_CHARS = 2000


@dataclass(frozen=True)
class Done:
    """A program that ended. Its output is read as UTF-8; `truncated` tells that it was cut at the service's limit."""

    exit_code: int
    stdout: str
    stderr: str
    truncated: bool = False


@dataclass(frozen=True)
class Surroundings:
    """What every program in a sandbox gets: variables beside the usual ones, and a folder (empty: the agent's, `/`)."""

    env: Mapping[str, str]
    cwd: str

    def with_more(self, env: Mapping[str, str], cwd: str) -> Surroundings:
        return Surroundings({**self.env, **env}, cwd or self.cwd)

    def argv(self, command: str | Sequence[str]) -> list[str]:
        """The program that runs `command` in here: a text is the shell's, a list runs without one."""
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        if self.cwd:
            words = ["/bin/sh", "-c", 'cd -- "$1" && shift && exec "$@"', "sh", self.cwd, *words]
        for name in self.env:
            if not name or "=" in name:
                raise InvalidInput(
                    f"{name!r} is no name of a variable",
                    why="It is empty or contains =",
                    todo="Give env={'NAME': 'value'}",
                    code="invalid-environment",
                )
        return ["env", *(f"{name}={value}" for name, value in self.env.items()), *words] if self.env else words


class Sandbox:
    """A running instance, made by :meth:`insula.client.Client.sandbox` or :meth:`fork`.

    It is gone after :meth:`close` or its `with` block. Every method raises NotFound (`sandbox-gone`) when it was
    deleted before. Threads may share one.
    """

    def __init__(self, client: Client, instance: Instance, keeper: LeaseKeeper, surroundings: Surroundings) -> None:
        self._client = client
        self._instance = instance
        self._surroundings = surroundings
        # One that is dropped without being closed ends with its lease.
        self._stop_keeping = weakref.finalize(self, keeper.stop)

    @property
    def name(self) -> str:
        """The instance's name, by which everything else of the client and `insula` finds it."""
        return self._instance.name

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = False,
        stdin: str | bytes = b"",
        timeout_s: float = 60.0,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
    ) -> Done:
        """Run a program as root to its end. A text is the shell's, a list runs without one.

        Raises ProgramFailed when `check` and its exit code is not 0, GuestFailure (`exec-timeout`) when it was killed
        after `timeout_s`.
        """
        argv = self._surroundings.with_more(env or {}, cwd).argv(command)
        with self._alive():
            result = self._client.guest.execute(self._instance.id, argv, stdin=_bytes(stdin), timeout_s=timeout_s)
        done = Done(result.exit_code, _text(result.stdout), _text(result.stderr), result.truncated)
        if check and done.exit_code != 0:
            shown = command if isinstance(command, str) else " ".join(command)
            raise ProgramFailed(
                f"{shown[:_SHOWN_CHARS]} ended with exit code {done.exit_code} in {self.name}",
                why=(done.stderr or done.stdout).strip()[-_SHOWN_CHARS:],
                todo="Leave check=True out to go on all the same",
                exit_code=done.exit_code,
                stdout=done.stdout,
                stderr=done.stderr,
            )
        return done

    def write(self, path: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Write a file (root's); one that was there is replaced when the new one is whole."""
        with self._alive():
            self._client.guest.write_file(self._instance.id, path, [_bytes(content)], mode=mode)

    def read(self, path: str) -> bytes:
        """The content of a file. Raises GuestRefused when there is none."""
        with self._alive():
            return b"".join(self._client.guest.read_file(self._instance.id, path))

    def upload(self, file: str | Path, path: str) -> None:
        """Copy a file of ours to `path` in the guest, with its mode. Raises NotFound when there is none."""
        with self._alive():
            self._client.guest.upload(self._instance.id, Path(file), path)

    def download(self, path: str, file: str | Path) -> None:
        """Copy a file out of the guest; ours gets its name when it is whole."""
        with self._alive():
            self._client.guest.download(self._instance.id, path, Path(file))

    def url(self, port: int) -> str:
        """`http://address:port` that reaches the guest's TCP `port`. Raises InvalidInput unless it is forwarded."""
        for forward in self._instance.forwards:
            if forward.guest_port == port and forward.protocol is Protocol.TCP:
                return f"http://{ssh_line.reachable(self._client, forward.host_address)}:{forward.host_port}"
        raise InvalidInput(
            f"Port {port} of {self.name} cannot be reached",
            why=f"Forwarded are {', '.join(str(each.guest_port) for each in self._instance.forwards) or 'none'}",
            todo=f"Say so when you make it: client.sandbox(forwards=[{port}])",
            code="port-not-forwarded",
        )

    @property
    def ssh_command(self) -> str:
        """The line that logs in from a shell of this host. Asks the guest for its host key."""
        with self._alive():
            return ssh_line.as_text(ssh_line.arguments(self._client, self._client.instances.get(self._instance.id)))

    def fork(self) -> Sandbox:
        """Another one that goes on from here, with all its programs and files; this one goes on as well.

        It ends by its own :meth:`close` or `with` block. Raises what forking an instance raises (`no-fork` and others);
        nothing is left of it then.
        """
        with self._alive():
            found = self._client.instances.get(self._instance.id)
            if found.lease_s is None:
                raise Conflict(
                    f"The sandbox {self.name} has no lease to pass on",
                    why="Somebody took it off, or gave it protection",
                    todo=f"Use client.instances.fork({self.name!r}), and delete the children yourself",
                    code="no-lease",
                )
            return _begun(self._client, self._fork_as, found.lease_s, self._surroundings)

    def _fork_as(self, name: str) -> tuple[str, Operation]:
        operation = self._client.operations.wait(self._client.instances.fork(self._instance.id, names=[name]).id)
        return name, operation

    def close(self) -> None:
        """Delete it and wait until it is gone. May be repeated.

        Raises nothing for what cannot be deleted now: that is told in a warning, and its lease ends soon.
        """
        if self._stop_keeping.alive:
            self._stop_keeping()
            _remove(self._client, self.name, self._instance.id)
            known_hosts.forget(self._client.settings.home, self._instance)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except NotFound as error:
            if error.code != "unknown-instance":
                raise
            raise NotFound(
                f"The sandbox {self.name} is gone",
                why=self._who_deleted_it(),
                todo="Make another one; a longer lease_s outlasts longer interruptions of the way to the service",
                code="sandbox-gone",
            ) from error

    def _who_deleted_it(self) -> str:
        found = self._client.operations.list(target=self._instance.id, verb=Verb.DELETE_INSTANCE, limit=1)
        by = found[0].requested_by if found else "somebody"
        return "Its lease ended before it was renewed" if by == LEASE_SUBJECT else f"It was deleted by {by}"


def make(client: Client, wish: Mapping[str, Any], *, lease_s: int, surroundings: Surroundings) -> Sandbox:
    """A new sandbox; `wish` are keywords of `client.instances.create`. Leaves nothing behind when it raises."""

    def create(name: str) -> tuple[str, Operation]:
        operation = client.instances.create(name, lease_s=lease_s, **wish)
        return operation.target, operation

    return _begun(client, create, lease_s, surroundings)


def _begun(
    client: Client, begin: Callable[[str], tuple[str, Operation]], lease_s: int, surroundings: Surroundings
) -> Sandbox:
    """Let `begin` make an instance of a new name, and keep its lease; `begin` returns its id or name, and by what."""
    name = f"{TAG}-{secrets.token_hex(5)}"
    keeper: LeaseKeeper | None = None
    try:
        instance, operation = begin(name)
        timeout_s = min(_RENEWAL_TIMEOUT_S, lease_s / 4)
        keeper = LeaseKeeper(Instances(client.connection.sibling(timeout_s)), instance, lease_s)
        client.operations.wait(operation.id)
        return Sandbox(client, client.instances.get(instance), keeper, surroundings)
    except BaseException:
        if keeper is not None:
            keeper.stop()
        _remove(client, name, name)
        raise


def _remove(client: Client, name: str, instance: str) -> None:
    try:
        remove(client, instance)
    except InsulaError as error:
        log.warning("The sandbox %s is deleted when its lease ends; now it could not be: %s", name, error)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")
