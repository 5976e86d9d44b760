"""The service is killed with -9 in the middle of changes: the recorded state is back at once, and flows go on."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from insula.node.network.keeper import SpaceKeeper
from insula.node.network.layout import changes, observed
from insula.node.network.strays import end_strays
from tests.network import frames
from tests.network.changer import changed
from tests.network.world import UID, World

pytestmark = pytest.mark.timeout(300)

_ROUNDS = 20
_LATE_S = 1.0
_MENDED_S = 2.0
_TOP = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def changing(folder: Path) -> AsyncIterator[None]:
    """A process that changes the space; killed at the end."""
    argv = [sys.executable, "-m", "tests.network.changer", str(folder), "-" if UID is None else str(UID)]
    with subprocess.Popen(argv, cwd=_TOP, stdout=subprocess.PIPE, text=True) as changer:
        assert changer.stdout is not None
        assert await asyncio.to_thread(changer.stdout.readline) == "ready\n"
        yield
        changer.kill()


async def is_as_recorded(keeper: SpaceKeeper) -> bool:
    """What is there, looked at anew, is what was ordered last; nothing of an earlier or a half-way order."""
    standing, steward = keeper._standing, keeper._steward
    assert standing is not None
    assert steward is not None
    found = observed(await steward.ask("look"), standing.layout)
    left = [change for change in changes(found, standing.layout) if change[0] not in {"limit", "redirect", "neighbour"}]
    listing = str((await steward.ask("read-rules", text="list ruleset\n"))["output"])
    chains = {*standing.table.skeleton, *standing.table.chains}
    return left == [] and listing.count('"chain": {"family"') == len(chains)


async def test_what_is_recorded_is_back_within_two_seconds_and_flows_go_on(world: World) -> None:
    await world.apply(changed(1))
    await world.clear()
    chance, sent, lost = random.Random(7), 0, 0
    for _ in range(_ROUNDS):
        world.keeper.close()
        async with changing(world.keeper._folder):
            until_s = time.monotonic() + chance.uniform(0.02, 0.6)
            while time.monotonic() < until_s:
                sent, lost = await one_packet(world, sent, lost)
        sent, lost = await one_packet(world, sent, lost)
        began_s = time.monotonic()
        await asyncio.to_thread(end_strays, world.keeper._folder.parent)
        world.keeper = SpaceKeeper(world.keeper._folder, UID)
        await world.keeper.reconcile()
        assert time.monotonic() - began_s < _MENDED_S
        assert await is_as_recorded(world.keeper)
        assert await world.keeper.reconcile() == ()
    assert lost == 0, f"{lost} of {sent} packets between two instances that nothing was changed about"
    assert sent > _ROUNDS * 2


async def one_packet(world: World, sent: int, lost: int) -> tuple[int, int]:
    """From one of those that stay to the other. On a busy host it may be late, which is not lost."""
    mark, until_s = 2000 + sent, time.monotonic() + _LATE_S
    world.send_packet("prt_1", "10.1.0.17", "10.1.0.18", "udp", frames.udp(mark, 53))
    while time.monotonic() < until_s:
        await asyncio.sleep(0.03)
        if mark in [packet.mark for packet in map(frames.parse, world.frames_at("prt_2")) if packet is not None]:
            return sent + 1, lost
    return sent + 1, lost + 1
