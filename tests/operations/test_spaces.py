"""Networks of projects as nodes are told them: there while somebody is in them, gone some time after."""

from __future__ import annotations

import pytest

from insula.control.nodes import Nodes, Spaces
from insula.domain.operation import Verb
from insula.domain.project_network import space_id_of
from tests.operations.control import Control


async def reported(control: Control) -> list[str]:
    return [report.id for report in await control.node.space_reports()]


async def test_a_network_stays_while_somebody_is_in_it(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = await control.create()
    space_id = space_id_of(instance.project)
    spaces = Spaces(control.store, Nodes({"local": control.node}))
    await spaces.connect(instance)
    spaces._empty_since_s[("local", space_id)] = 0.0  # it seemed to be empty a moment ago
    await spaces._remove_empty("local", space_id, 0)
    assert await reported(control) == [space_id]
    await control.do(Verb.DELETE_INSTANCE, instance)
    await spaces.tell_all()
    assert await reported(control) == [space_id], "the next one may come soon"
    monkeypatch.setattr("insula.control.nodes.spaces._EMPTY_FOR_S", 0.0)
    await spaces.tell_all()
    assert await reported(control) == []


async def test_nothing_is_left_where_nobody_is_when_the_service_stops(control: Control) -> None:
    instance = await control.create()
    spaces = Spaces(control.store, Nodes({"local": control.node}))
    await spaces.connect(instance)
    await spaces.close()
    assert await reported(control) == [space_id_of(instance.project)]
    await control.do(Verb.DELETE_INSTANCE, instance)
    await spaces.tell_all()
    await spaces.close()
    assert await reported(control) == []
