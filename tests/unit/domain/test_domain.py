from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.base.errors import Conflict, InvalidInput
from insula.domain.access import Identity, Scope
from insula.domain.ids import Kind, is_id, new_id
from insula.domain.instance import TRANSITIONS, InstanceState, check_transition
from insula.domain.names import check_hostname, check_name, check_tags
from insula.domain.plan import DEFAULT_PLAN, PLANS, Band, find_plan


def test_ids_are_ordered_by_time_and_know_their_kind() -> None:
    ids = [new_id(Kind.INSTANCE) for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [one[:14] for one in ids] == sorted(one[:14] for one in ids)
    assert all(is_id(one, Kind.INSTANCE) and not is_id(one, Kind.OPERATION) for one in ids)


@given(st.text(max_size=80))
def test_a_name_is_a_dns_label_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        accepted = check_name(text)
        assert accepted == text
        assert accepted.isascii()
        assert 1 <= len(accepted) <= 63
        assert accepted.strip("-") == accepted


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a_b", "a.b", "a" * 64, "web1\n", "ünï", "../etc", "a b"])
def test_bad_names(text: str) -> None:
    with pytest.raises(InvalidInput):
        check_name(text)


def test_hostnames_may_have_domains() -> None:
    assert check_hostname("Web1.Example.org") == "web1.example.org"
    for bad in ("", ".", "a..b", "a" * 64, "x." * 130 + "y"):
        with pytest.raises(InvalidInput):
            check_hostname(bad)


def test_tags_are_sorted_and_bounded() -> None:
    assert check_tags(("b", "a", "b")) == ("a", "b")
    for bad in (("",), ("a b",), tuple(str(n) for n in range(51))):
        with pytest.raises(InvalidInput):
            check_tags(bad)


def test_every_state_has_its_transitions_and_none_is_a_dead_end() -> None:
    assert set(TRANSITIONS) == set(InstanceState)
    for state, targets in TRANSITIONS.items():
        assert targets
        assert state not in targets


def test_an_illegal_transition_names_the_legal_ones() -> None:
    check_transition("web1", InstanceState.STOPPED, InstanceState.STARTING)
    with pytest.raises(
        Conflict, match=r"cannot be stopped now.*it can be started or resized or rebuilt or reverted or deleted"
    ):
        check_transition("web1", InstanceState.STOPPED, InstanceState.STOPPING)


def test_plans_come_in_bands_with_the_advertised_sizes() -> None:
    for band, vcpus, memory_gib, disk_gib in (
        (Band.ENTRY, (1, 2), (1, 2), (25, 50)),
        (Band.MIDDLE, (2, 4), (4, 8), (80, 160)),
        (Band.HIGH, (4, 8), (16, 32), (200, 500)),
    ):
        for plan in (one for one in PLANS.values() if one.band is band):
            assert vcpus[0] <= plan.vcpus <= vcpus[1]
            assert memory_gib[0] * 1024 <= plan.memory_mib <= memory_gib[1] * 1024
            assert disk_gib[0] <= plan.disk_gib <= disk_gib[1]
    enterprise = [plan for plan in PLANS.values() if plan.band is Band.ENTERPRISE]
    assert enterprise
    assert all(p.vcpus >= 8 and p.memory_mib >= 32 * 1024 and p.disk_gib >= 500 for p in enterprise)
    assert PLANS["micro-1"].cpu_percent == 25
    assert find_plan(DEFAULT_PLAN).name == DEFAULT_PLAN


def test_an_unknown_plan_lists_the_known() -> None:
    with pytest.raises(InvalidInput, match="entry-2"):
        find_plan("huge")


def test_scopes_widen_as_documented() -> None:
    writer = Identity("token:ci", "default", frozenset({Scope.INSTANCES_WRITE}))
    assert writer.may(Scope.INSTANCES_READ)
    assert not writer.may(Scope.INSTANCES_EXEC)
    assert not writer.may(Scope.IMAGES_READ)
    assert Identity("local:root", "default", frozenset({Scope.ADMIN})).may(Scope.TOKENS_WRITE)
