"""Inside the guest: commands, files, console, host name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from insula.base.errors import Conflict
from insula.control.actions.caller import Audit, Caller, action
from insula.control.actions.faults import Faults
from insula.control.actions.ports import Nodes
from insula.control.store import Store
from insula.domain.access import Scope
from insula.domain.instance import Instance, InstanceState, way_to_run
from insula.domain.names import check_hostname
from insula.protocol.node import ConsoleStream, ExecResult, NodeApi

MAX_ARGV_BYTES = 128 * 1024  # Linux's limit for one argument
MAX_STDIN_BYTES = 1024 * 1024
MIN_TIMEOUT_S, MAX_TIMEOUT_S = 1.0, 3600.0
MAX_LOG_BYTES = 4 * 1024 * 1024
MAX_MODE = 0o7777
_MAX_PATH_CHARS = 4096


class GuestActions:
    """`instance` is a name or an id everywhere."""

    def __init__(self, store: Store, nodes: Nodes) -> None:
        self.store = store
        self._nodes = nodes

    @action("guest.exec", Scope.INSTANCES_EXEC, audit=Audit.AFTER)
    async def execute(
        self, caller: Caller, instance: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0
    ) -> ExecResult:
        """Run a program as root in the guest. Arguments are not audited: they may hold secrets."""
        faults = Faults()
        size = sum(len(part.encode("utf-8", "surrogatepass")) + 1 for part in argv)
        if not argv or not argv[0] or any("\x00" in part for part in argv):
            faults.note("argv", "must begin with a program and contain no zero bytes")
        elif size > MAX_ARGV_BYTES:
            faults.note("argv", f"must have at most {MAX_ARGV_BYTES} bytes, it has {size}")
        if len(stdin) > MAX_STDIN_BYTES:
            faults.note("stdin", f"must have at most {MAX_STDIN_BYTES} bytes; copy a file in instead")
        if not MIN_TIMEOUT_S <= timeout_s <= MAX_TIMEOUT_S:
            faults.note("timeout_s", f"must be from {MIN_TIMEOUT_S:g} to {MAX_TIMEOUT_S:g}")
        faults.raise_if_any("The command cannot be run like this")
        found, node = await self._running(caller, instance)
        return await node.execute(found.id, argv, stdin, timeout_s)

    @action("guest.read_file", Scope.INSTANCES_EXEC, audit=Audit.AFTER)
    async def read_file(self, caller: Caller, instance: str, path: str) -> AsyncIterator[bytes]:
        """The file's content in pieces. Raises NotFound before the first one."""
        _check_path(path)
        found, node = await self._running(caller, instance)
        return await node.read_file(found.id, path)

    @action("guest.write_file", Scope.INSTANCES_EXEC, audit=Audit.AFTER)
    async def write_file(
        self, caller: Caller, instance: str, path: str, data: AsyncIterator[bytes], *, mode: int = 0o644
    ) -> int:
        """Replace the file; the number of bytes written."""
        faults = Faults()
        with faults.of("path"):
            _check_path(path)
        faults.between("mode", mode, 0, MAX_MODE)
        faults.raise_if_any("The file cannot be written like this")
        found, node = await self._running(caller, instance)
        return await node.write_file(found.id, path, data, mode)

    @action("guest.console_log", Scope.INSTANCES_EXEC, audit=Audit.NEVER)
    async def console_log(self, caller: Caller, instance: str, max_bytes: int) -> bytes:
        """The last bytes of the serial console, also of a stopped instance."""
        faults = Faults()
        faults.between("max_bytes", max_bytes, 1, MAX_LOG_BYTES)
        faults.raise_if_any("The console's log cannot be read like this")
        found = await self.store.instances.get(caller.project, instance)
        return await self._node_of(found).console_log(found.id, max_bytes)

    @action("guest.console", Scope.INSTANCES_EXEC, audit=Audit.AFTER)
    async def console(self, caller: Caller, instance: str) -> ConsoleStream:
        """Attach to the serial console; whoever gets it closes it."""
        found = await self.store.instances.get(caller.project, instance)
        return await self._node_of(found).console_attach(found.id)

    @action("guest.set_hostname", Scope.INSTANCES_EXEC, audit=Audit.AFTER)
    async def set_hostname(self, caller: Caller, instance: str, hostname: str) -> Instance:
        """Change it in the running guest, where it stays, and in the record, from which a rebuild takes it."""
        wanted = check_hostname(hostname)
        found, node = await self._running(caller, instance)
        await node.set_hostname(found.id, wanted)
        return await self.store.instances.change(caller.project, found.id, hostname=wanted)

    async def _running(self, caller: Caller, instance: str) -> tuple[Instance, NodeApi]:
        found = await self.store.instances.get(caller.project, instance)
        if found.state not in {InstanceState.RUNNING, InstanceState.FORKING}:
            raise Conflict(
                f"Instance {found.name} is not running",
                why=f"It is {found.state}; its guest cannot answer",
                todo=f"Let it run: `{way_to_run(found)}`",
                code="wrong-state",
            )
        return found, self._node_of(found)

    def _node_of(self, instance: Instance) -> NodeApi:
        if not instance.node:
            raise Conflict(
                f"Instance {instance.name} has no machine yet",
                why="It is being created and has not been placed",
                todo=f"Try again shortly; `insula show {instance.name}` tells its state",
                code="wrong-state",
            )
        return self._nodes.get(instance.node)


def _check_path(path: str) -> None:
    faults = Faults()
    if not path.startswith("/") or "\x00" in path or len(path) > _MAX_PATH_CHARS:
        faults.note("path", f"must be absolute, at most {_MAX_PATH_CHARS} characters, without zero bytes")
    faults.raise_if_any("That is no path in the guest")
