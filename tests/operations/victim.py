"""A service that dies: it takes up or begins an operation and is killed with -9 right after a step's effect, before
anything has remembered it. Started by test_kill.py as a process of its own, forked from one that has imported this."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from insula.base.errors import HostFailure
from insula.control.nodes.spec import node_spec
from insula.control.operations.engine.table import Do, Facts, Step, Tables, Work
from insula.control.operations.tables import TABLES
from insula.domain.backup import Backup, BackupStore
from insula.domain.instance import Instance
from insula.domain.operation import Verb
from insula.domain.snapshot import Snapshot
from insula.domain.volume import Volume
from tests.operations.control import NO_POOL, PATIENCE_S, POOL, Target, fill_pool, make_node, open_control, open_network


@dataclass(frozen=True)
class Fate:
    """What shall happen: die in `do` or in `undo` of step `die_at`; step `fail_at` fails after its effect.

    With `in_pool` the target takes the id and the MAC of a member of the pool; if `die_at` is empty, it dies then.
    """

    verb: Verb
    die_at: str
    in_undo: bool = False
    fail_at: str = ""
    in_pool: bool = False


def fated_tables(fate: Fate) -> Tables:
    """The real tables, with this fate for one verb."""
    table = TABLES[fate.verb]
    return {**TABLES, fate.verb: replace(table, steps=tuple(_fated(step, fate) for step in table.steps))}


def _fated(step: Step, fate: Fate) -> Step:
    async def do(work: Work) -> Facts | None:
        facts = await step.do(work)
        if step.name == fate.fail_at:
            raise HostFailure("sabotage")
        if step.name == fate.die_at and not fate.in_undo:
            os.kill(os.getpid(), signal.SIGKILL)
        return facts

    return replace(step, do=do, undo=_fated_undo(step.undo, step.name, fate) if step.undo is not None else None)


def _fated_undo(undo: Do, name: str, fate: Fate) -> Do:
    async def undo_and_die(work: Work) -> None:
        await undo(work)
        if name == fate.die_at and fate.in_undo:
            os.kill(os.getpid(), signal.SIGKILL)

    return undo_and_die


async def live(url: str, folder: Path, fate: Fate, target: Target | None, params: dict[str, Any]) -> None:
    """Begin the operation on `target`, or only take up what is there; return only if nothing kills us."""
    pool = POOL if fate.in_pool else NO_POOL
    async with make_node(folder, pool) as node, open_control(url, node, tables=fated_tables(fate)) as control:
        if isinstance(target, Instance) and fate.in_pool:
            await open_network(control, node_spec(target))
            await fill_pool(node, node_spec(target))
            drawn = await node.draw(node_spec(target))
            assert drawn is not None
            target = replace(target, id=drawn.id, mac=drawn.port.mac, ports=(drawn.port,))
            if not fate.die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(target, Volume):
            await control.accept_volume(fate.verb, target, **params)
        elif isinstance(target, Snapshot):
            await control.accept_snapshot(fate.verb, target)
        elif isinstance(target, Backup | BackupStore):
            await control.accept_backup(fate.verb, target, **params)
        elif target is not None:
            await control.accept(fate.verb, target, **params)
        async with asyncio.timeout(PATIENCE_S):
            while await control.store.operations.active():
                await asyncio.sleep(0.05)


def main(said: str, order_json: str) -> None:
    """Live as the order says; what is said on the error stream goes to the file `said`, which exists."""
    os.dup2(os.open(said, os.O_WRONLY), 2)
    faulthandler.enable(2)
    order = json.loads(order_json)
    fate = msgspec.convert(order["fate"], Fate)
    kinds: dict[str, type[Target]] = {
        "volume": Volume,
        "snapshot": Snapshot,
        "backup": Backup,
        "store": BackupStore,
    }
    kind = kinds.get(fate.verb.noun, Instance)
    subject = msgspec.convert(order["target"], kind) if order["target"] else None
    asyncio.run(live(order["url"], Path(order["folder"]), fate, subject, order["params"]))
