"""The ledger on DBOS. Nobody outside of this module sees it.

DBOS keeps its state in the process, so there is one ledger per process. What it would do by default and must not:
pickle outcomes, version itself by a hash of our code (an upgrade would strand what is in flight), migrate while it
starts, log to its own handler, and replace the loop's thread pool by one that dies with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos._serialization import DBOSPortableJSON

from insula.base.clock import now_utc
from insula.base.errors import Unavailable
from insula.base.log import get_logger
from insula.control.operations.engine.ledger import Outcome, Run
from insula.control.store.ledger import ledger_engine

log = get_logger(__name__)

_SCHEMA = "insula_ledger"
# Runs survive upgrades: a run whose table has changed breaks and is begun anew, see DbosLedger.start.
_APPLICATION_VERSION = "1"
_THREADS = 16
_UNFINISHED = frozenset({"PENDING", "ENQUEUED", "DELAYED"})
_PRUNED_AT_ONCE = 500
_POLL_S = 1.0


class DbosLedger:
    """Implements :class:`insula.control.operations.engine.ledger.Ledger`.

    `executor` names this controller: at its next start the runs that it had left are taken up again. Several
    controllers on one PostgreSQL need different names; taking over a dead one's runs is a matter of leases, which
    would live here.
    """

    def __init__(self, url: str, executor: str = "controller") -> None:
        self._url = url
        self._executor = executor
        self._running: set[asyncio.Task[Any]] = set()
        self._workflow: Callable[[str, bool], Any] | None = None
        self._dispose: Callable[[], None] = _nothing
        self._stop_looking: Callable[[], None] = _nothing
        self._is_settled = False
        self._is_closing = False

    async def open(self, run: Run) -> None:
        """Raises :class:`Unavailable` when the database does not answer."""
        _quieten(logging.WARNING)
        try:
            engine = await asyncio.to_thread(ledger_engine, self._url)
            self._dispose = engine.dispose
            await asyncio.to_thread(_migrate, self._url, engine)
            config = DBOSConfig(
                name="insula",
                system_database_url=self._url,
                system_database_engine=engine,
                dbos_system_schema=_SCHEMA,
                application_version=_APPLICATION_VERSION,
                executor_id=self._executor,
                serializer=DBOSPortableJSON,
                run_migrations=False,
                enable_otlp=False,
                log_level="WARNING",
                max_executor_threads=_THREADS,
                notification_listener_polling_interval_sec=_POLL_S,
                notification_coalesce_sec=_POLL_S,
                scheduler_polling_interval_sec=3600.0,
            )
            library = DBOS(config=config)
            self._stop_looking = partial(_stop_looking, library)
            self._workflow = self._register(run)
            # On the loop, not in a thread: DBOS takes the loop that it is launched in for running workflows.
            DBOS.launch()
        except ConnectionError as error:
            raise Unavailable("The ledger of operations cannot be opened", why=str(error)) from error

    def _register(self, run: Run) -> Callable[[str, bool], Any]:
        @DBOS.workflow(name="operation", max_recovery_attempts=None)
        async def workflow(operation_id: str, undo_only: bool) -> None:
            if self._is_closing:
                raise asyncio.CancelledError  # begun too late to go on here; the next start takes it up
            task = asyncio.current_task()
            if task is not None:
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            await run(operation_id, undo_only)

        return workflow

    async def begin(self, operation_id: str) -> None:
        await self._start(operation_id, 1, False)

    async def again(self, operation_id: str, undo_only: bool) -> None:
        """Each new run of an operation gets the next number."""
        number = 1
        while (status := await DBOS.get_workflow_status_async(_run_id(operation_id, number))) is not None:
            # Once settled, what runs is known to run; an unfinished run that does not has lost the database midway.
            if status.status in _UNFINISHED and not self._is_settled:
                return
            number += 1
        await self._start(operation_id, number, undo_only)

    async def _start(self, operation_id: str, number: int, undo_only: bool) -> None:
        assert self._workflow is not None  # noqa: S101 - open() comes first
        with SetWorkflowID(_run_id(operation_id, number)):
            await DBOS.start_workflow_async(self._workflow, operation_id, undo_only)

    async def settle(self) -> None:
        if not self._is_settled:
            self._is_settled = True
            await asyncio.to_thread(self._stop_looking)

    async def step(self, name: str, work: Callable[[], Awaitable[Outcome]]) -> Outcome:
        async def run() -> Outcome:
            return await work()

        return await DBOS.run_step_async({"name": name}, run)

    async def prune(self, older_than_s: float) -> None:
        before = (now_utc() - timedelta(seconds=older_than_s)).isoformat()
        while True:
            old = await DBOS.list_workflows_async(
                status=["SUCCESS", "ERROR", "CANCELLED"],
                completed_before=before,
                limit=_PRUNED_AT_ONCE,
                load_input=False,
                load_output=False,
            )
            await DBOS.delete_workflows_async([run.workflow_id for run in old])
            if len(old) < _PRUNED_AT_ONCE:
                return

    async def close(self) -> None:
        _quieten(logging.CRITICAL)  # it warns of every run that is cut off, which is what we do here
        self._is_closing = True
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        pool = ThreadPoolExecutor(thread_name_prefix="loop")
        loop = asyncio.get_running_loop()
        loop.set_default_executor(pool)
        await loop.run_in_executor(pool, partial(DBOS.destroy, destroy_registry=True))
        await loop.run_in_executor(pool, self._dispose)  # an engine that it was given is not its to dispose of
        loop.set_default_executor(pool)  # whatever was beginning meanwhile has put the library's back, which is gone


def _nothing() -> None:
    """What is to be disposed of before :meth:`DbosLedger.open`."""


def _stop_looking(library: DBOS) -> None:
    # Its queues, delays and schedules, which serve us for taking up old runs only, ask the database several times a
    # second for ever: one per cent of a core for nothing.
    for event in library.background_thread_stop_events:
        event.set()
    library._background_jobs_stop_event.set()


def _run_id(operation_id: str, number: int) -> str:
    return f"{operation_id}.{number}"


def _migrate(url: str, engine: Any) -> None:
    # Connecting once sets the journal mode, which the library's own connections below then find in the file.
    engine.connect().close()
    DBOS.migrate(url, schema=_SCHEMA)


def _quieten(level: int) -> None:
    theirs = logging.getLogger("dbos")
    theirs.handlers[:] = [logging.NullHandler()]  # it adds its own only when there is none
    theirs.propagate = True
    theirs.setLevel(level)
