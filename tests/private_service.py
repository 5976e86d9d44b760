"""One service in an own INSULA_HOME: started as a user would, killed as no user would."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType

from insula.base.errors import Unavailable
from insula.client import Client
from insula.protocol.service_record import read_record
from tests.images import lend

_COMMAND_TIMEOUT_S = 300.0
_DEATH_TIMEOUT_S = 10.0


class PrivateService:
    """A private INSULA_HOME and port, and the service in it. `extra` are further settings (`INSULA_…`).

    `images` are there from the start, lent by `tests.images`. `within` is a command that runs the one after it, such as
    `nsenter`; it may be changed between two starts.
    """

    def __init__(self, driver: str, extra: Mapping[str, str] | None = None, *, images: Sequence[str] = ()) -> None:
        self.within: Sequence[str] = ()
        # Own uids must be able to pass through the folder above the home, which mkdtemp makes private.
        self.top = Path(tempfile.mkdtemp(prefix="insula-private-", dir="/var/tmp"))
        self.top.chmod(0o755)
        self.home = self.top / "home"
        self.listen = f"127.0.0.1:{free_port()}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INSULA_")}
        own = {"INSULA_HOME": str(self.home), "INSULA_LISTEN": self.listen, "INSULA_DRIVER": driver}
        own["INSULA_LISTEN_TLS"] = "off"  # the next port may be another's
        own["INSULA_NETWORK"] = "user"  # the host's packet filter is not the tests' own
        own["INSULA_TEMPLATES"] = "asked"  # a guest that boots by itself would take part in every measurement
        self.environment = inherited | own | dict(extra or {})
        lend(self.home / "node" / "images", *images)

    def __enter__(self) -> PrivateService:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Delete every instance, stop the service, remove the folder."""
        try:
            with self.client() as client:
                for operation in [client.instances.delete(one.id) for one in client.instances.list()]:
                    client.operations.wait(operation.id, timeout_s=_COMMAND_TIMEOUT_S)
        finally:
            self.stop()
            self.remove()

    @property
    def pid(self) -> int:
        """The service's process. Raises AssertionError when it does not run."""
        record = read_record(self.home)
        if record is None:
            raise AssertionError("the service does not run")
        return record.pid

    @property
    def command(self) -> list[str]:
        """The command line, to which arguments are added."""
        return [*self.within, sys.executable, "-I", "-m", "insula.cli"]

    def client(self, timeout_s: float = 60.0) -> Client:
        """A new client on the Unix socket; one for each thread."""
        return Client(f"unix:{self.home / 'run' / 'insula.sock'}", timeout_s=timeout_s)

    def start(self) -> None:
        """`insula service start`; raises with what it printed when that fails."""
        self.insula("service", "start")

    def stop(self) -> None:
        self.insula("service", "stop")

    def kill(self) -> None:
        """End the service with SIGKILL and wait until it is gone."""
        pid = self.pid
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _DEATH_TIMEOUT_S
        while read_record(self.home) is not None:
            if time.monotonic() > deadline:
                raise AssertionError(f"the service {pid} outlived SIGKILL")
            time.sleep(0.01)

    def remove(self) -> None:
        shutil.rmtree(self.top)

    def wait_until_it_answers(self, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with self.client() as client:
                    client.health()
                return
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def insula(self, *arguments: str) -> None:
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"insula {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
