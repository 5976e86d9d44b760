"""All that is wrong is told at once."""

from __future__ import annotations

import pytest

from insula.base.errors import InvalidInput
from insula.control.actions.faults import Faults
from insula.control.actions.sizes import SizeWish, apply_wish, resources_of
from insula.domain.names import check_name
from insula.domain.plan import PLANS


def test_one_error_stays_what_it_was() -> None:
    faults = Faults()
    with faults.of("name"):
        check_name("A")
    with pytest.raises(InvalidInput) as caught:
        faults.raise_if_any("No")
    assert caught.value.code == "invalid-name"


def test_several_become_one() -> None:
    faults = Faults()
    with faults.of("name"):
        check_name("A")
    faults.between("vcpus", 0, 1, 4)
    faults.between("disk_gib", 3, 1, 4)
    with pytest.raises(InvalidInput) as caught:
        faults.raise_if_any("No")
    assert set(caught.value.fields) == {"name", "vcpus"}
    assert caught.value.fields["vcpus"] == "must be from 1 to 4, not 0"


def test_nothing_wrong() -> None:
    Faults().raise_if_any("No")


def test_cpu_time_follows_the_vcpus() -> None:
    faults = Faults()
    base = resources_of(PLANS["micro-1"])
    grown = apply_wish(base, SizeWish(vcpus=4, memory_mib=1024), faults)
    faults.raise_if_any("No")
    assert (grown.vcpus, grown.cpu_percent, grown.memory_mib, grown.disk_gib) == (4, 100, 1024, base.disk_gib)


def test_absurd_sizes() -> None:
    faults = Faults()
    apply_wish(resources_of(PLANS["micro-1"]), SizeWish(vcpus=1_000_000, memory_mib=0, disk_gib=-1), faults)
    with pytest.raises(InvalidInput) as caught:
        faults.raise_if_any("No")
    assert set(caught.value.fields) == {"vcpus", "memory_mib", "disk_gib"}
