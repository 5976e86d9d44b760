from __future__ import annotations

from dataclasses import replace

import pytest

from insula.base.errors import Conflict
from insula.cli.commands.snapshots import as_tree
from insula.domain.snapshot import (
    SnapshotState,
    check_available,
    check_fits,
    check_transition,
    free_name,
)
from tests.operations.control import make_instance, make_snapshot


def test_names_are_the_instances_with_the_lowest_free_number() -> None:
    assert free_name("web1", ()) == "web1-1"
    assert free_name("web1", ("web1-1", "web1-3")) == "web1-2"
    assert len(free_name("a" * 63, ())) <= 63


def test_each_state_leads_somewhere_and_only_whole_ones_are_used() -> None:
    check_transition("s", SnapshotState.CREATING, SnapshotState.AVAILABLE)
    with pytest.raises(Conflict, match="It is deleting"):
        check_transition("s", SnapshotState.DELETING, SnapshotState.AVAILABLE)
    made = make_snapshot(make_instance())
    with pytest.raises(Conflict, match="It is creating"):
        check_available(made, "used")
    check_available(replace(made, state=SnapshotState.AVAILABLE), "used")


def test_memory_fits_a_machine_of_its_size_only() -> None:
    host = make_instance()
    made = make_snapshot(host)
    check_fits(made, replace(host, resources=replace(host.resources, disk_gib=99)))
    with pytest.raises(Conflict, match="256 MiB now"):
        check_fits(made, replace(host, resources=replace(host.resources, memory_mib=256)))


def test_a_tree_is_drawn_from_its_roots() -> None:
    host = make_instance()
    one, two, three = (make_snapshot(host, name) for name in ("one", "two", "three"))
    two = replace(two, parent_id=one.id)
    three = replace(three, parent_id="snp_gone")
    four = make_snapshot(host, "four", parent_id=two.id)
    drawn = [(depth, each.name) for depth, each in as_tree([one, two, three, four])]
    assert drawn == [(0, "one"), (1, "two"), (2, "four"), (0, "three")]
