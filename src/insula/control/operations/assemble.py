"""Puts the engine together from its parts."""

from __future__ import annotations

from insula.control.nodes import Nodes, Spaces
from insula.control.operations.engine.dbos_ledger import DbosLedger
from insula.control.operations.engine.engine import Engine, EngineOptions
from insula.control.operations.engine.table import Tables
from insula.control.operations.tables import TABLES
from insula.control.scheduler import Scheduler
from insula.control.store import Store
from insula.control.store.ledger import ledger_url


async def open_engine(
    database_url: str,
    store: Store,
    nodes: Nodes,
    spaces: Spaces,
    scheduler: Scheduler,
    *,
    options: EngineOptions | None = None,
    tables: Tables = TABLES,
) -> Engine:
    """A running engine that has taken up what an earlier process left; :meth:`Engine.close` it before the store.

    One per process. Raises :class:`Unavailable` when the database does not answer.
    """
    ledger = DbosLedger(ledger_url(database_url))
    engine = Engine(store, nodes, spaces, scheduler, ledger=ledger, tables=tables, options=options or EngineOptions())
    await engine.open()
    return engine
