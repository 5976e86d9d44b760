"""Placement: numbers in, a node or reasons with numbers out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.base.errors import CapacityExceeded
from insula.control.scheduler.placement import HostPolicy, Placement, Refusal, capacity, place
from insula.domain.capacity import Claim, Share
from insula.domain.instance import Resources
from insula.protocol.node import NodeReport


def host(name: str = "local", cores: int = 2, memory_mib: int = 8192, disk_gib: float = 100) -> NodeReport:
    return NodeReport(name, cores, memory_mib, 2 * disk_gib, disk_gib, "tcg", ())


def size(memory_mib: int = 1024, cpu_percent: int = 100, disk_gib: int = 10) -> Resources:
    return Resources(1, memory_mib, disk_gib, cpu_percent)


@pytest.mark.parametrize(("memory_mib", "reserve"), [(2048, 512), (16384, 1638), (131072, 4096), (256, 256)])
def test_the_reserve(memory_mib: int, reserve: int) -> None:
    assert HostPolicy().reserve_mib(memory_mib) == reserve


def test_the_numbers_add_up() -> None:
    claims = [Claim("a", "local", size()), Claim("b", "local", size(2048)), Claim("c", "elsewhere", size())]
    found = capacity(host(), claims, HostPolicy())
    assert found.instances == 2
    assert found.memory_mib.used == 3072
    assert found.memory_mib.total == 8192 - 819
    assert found.cpu_percent.total == 1600
    assert found.disk_gib.free == 380


def test_a_refusal_has_the_numbers() -> None:
    claims = [Claim("a", "local", size(7000))]
    answer = place(size(1024, cpu_percent=9999), [capacity(host(), claims, HostPolicy())])
    assert isinstance(answer, Refusal)
    error = answer.error()
    assert isinstance(error, CapacityExceeded)
    for number in ("373 MiB", "1024", "8192", "819", "7000", "1500 %", "9999"):
        assert number in error.why
    assert "GiB" not in error.why


def test_a_template_that_was_asked_for_is_not_promised_twice() -> None:
    report = replace(host(), templates=Share(7000, 100), spare=Share(9999, 9999))
    found = capacity(report, [], HostPolicy())
    assert (found.memory_mib.used, found.cpu_percent.used) == (7000, 100), "what is spare is given back"
    answer = place(size(1024), [found])
    assert isinstance(answer, Refusal)
    assert "and a template that is being made" in answer.error().why


def test_what_forks_hold_is_not_promised_twice() -> None:
    found = capacity(replace(host(), forks=Share(7000)), [], HostPolicy())
    assert found.memory_mib.used == 7000
    answer = place(size(1024), [found])
    assert isinstance(answer, Refusal)
    assert "and forks whose children are not there yet" in answer.error().why


def test_the_emptiest_node_takes_it() -> None:
    nodes = [capacity(host(name), [Claim("x", "b", size())], HostPolicy()) for name in ("b", "c", "a")]
    assert place(size(), nodes) == Placement("a")


def test_without_nodes_nobody_takes_it() -> None:
    assert isinstance(place(size(), []), Refusal)


@given(st.lists(st.integers(64, 4096), max_size=40))
def test_never_more_than_there_is(wishes: list[int]) -> None:
    claims: list[Claim] = []
    for number, memory_mib in enumerate(wishes):
        answer = place(size(memory_mib, 1, 1), [capacity(host(), claims, HostPolicy())])
        if isinstance(answer, Placement):
            claims.append(Claim(str(number), answer.node, size(memory_mib, 1, 1)))
    assert sum(claim.resources.memory_mib for claim in claims) <= 8192 - 819
