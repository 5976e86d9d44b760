"""Watching a node."""

from __future__ import annotations

import asyncio

from insula.node.agent.changes import Changes
from insula.protocol.node import InstanceReport, Power


async def test_watchers_see_what_changes_from_their_call_on() -> None:
    changes = Changes()
    changes.publish(InstanceReport("a", Power.OFF))
    watch = changes.watch()
    changes.publish(InstanceReport("a", Power.OFF))
    changes.publish(InstanceReport("b", Power.ON))
    assert await anext(watch) == InstanceReport("b", Power.ON)


async def test_a_slow_watcher_gets_the_latest_of_each() -> None:
    changes = Changes()
    watch = changes.watch()
    for restarts in range(5000):
        changes.publish(InstanceReport("a", Power.BOOTING, restarts=restarts))
    changes.publish(InstanceReport("b", Power.ON))
    assert (await anext(watch)).restarts == 4999
    assert (await anext(watch)).id == "b"


async def test_a_watcher_waits_for_news() -> None:
    changes = Changes()
    watch = changes.watch()

    async def first() -> InstanceReport:
        return await anext(watch)

    waiting = asyncio.create_task(first())
    await asyncio.sleep(0)
    changes.publish(InstanceReport("a", Power.ON))
    assert (await waiting).power is Power.ON


async def test_a_forgotten_instance_may_come_again_as_it_was() -> None:
    changes = Changes()
    watch = changes.watch()
    for _ in range(2):
        changes.publish(InstanceReport("a", Power.OFF))
        assert (await anext(watch)).id == "a"
        changes.forget("a")
