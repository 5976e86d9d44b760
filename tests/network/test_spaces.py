"""All spaces of a node together, and after a restart of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import InvalidInput, NotFound
from insula.domain.network import Network
from insula.node.network.spaces import Spaces
from insula.node.runtime.uids import UidRange
from insula.protocol.network import SpaceOrder, Way
from insula.protocol.node import Nic
from tests.network.world import can_have_spaces, port_of, space_of

_RED = Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64")
_SPACE = space_of([_RED], [port_of(1, _RED), port_of(2, _RED)])


@pytest.fixture
def uids(tmp_path: Path) -> UidRange | None:
    return UidRange(tmp_path / "register") if UidRange.is_usable() else None


@pytest.fixture
async def spaces(folder: Path, uids: UidRange | None) -> AsyncIterator[Spaces]:
    if not can_have_spaces():
        pytest.skip("needs a /dev/net/tun that we may open")
    spaces = Spaces(folder, uids)
    await spaces.open()
    try:
        yield spaces
    finally:
        for report in await spaces.space_reports():
            await spaces.remove_space(report.id)
        spaces.close()


async def test_projects_with_the_same_addresses_stand_side_by_side(spaces: Spaces, folder: Path) -> None:
    for space_id in ("prj_a", "prj_b"):
        await spaces.apply_space(SpaceOrder(replace(_SPACE, id=space_id), 1, Way.NONE))
        with await spaces.plug(folder, [Nic("02:00:00:00:00:01", space_id, "prt_1")], None) as wiring:
            assert len(wiring.taps) == 1
    assert [report.id for report in await spaces.space_reports()] == ["prj_a", "prj_b"]
    assert set((await spaces.space_traffic("prj_a")).ports) == {"prt_1", "prt_2"}
    assert set(await spaces.card_traffic()) == {"prt_1", "prt_2"}
    for _ in range(2):
        await spaces.remove_space("prj_a")
    assert [report.id for report in await spaces.space_reports()] == ["prj_b"]
    with pytest.raises(NotFound):
        await spaces.space_traffic("prj_a")


async def test_a_new_service_finds_them_and_sweeps_what_was_cut_off(
    spaces: Spaces, folder: Path, uids: UidRange | None
) -> None:
    await spaces.apply_space(SpaceOrder(_SPACE, 3, Way.NONE))
    spaces.close()
    (folder / "prj_half").mkdir()
    again = Spaces(folder, uids)
    await again.open()
    try:
        assert [(report.id, report.revision, report.mended) for report in await again.space_reports()] == [
            ("prj_test", 3, ())
        ]
        assert not (folder / "prj_half").exists()
        await again.remove_space("prj_test")
    finally:
        again.close()


async def test_a_name_that_is_a_path_is_refused(spaces: Spaces) -> None:
    with pytest.raises(InvalidInput):
        await spaces.apply_space(SpaceOrder(replace(_SPACE, id="../x"), 1, Way.NONE))
    await spaces.remove_space("../x")
