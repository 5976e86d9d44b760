"""Networks of projects, and the places that ports get in them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from insula.base.clock import now_utc
from insula.base.errors import CapacityExceeded
from insula.domain.network import Network, Space, check
from insula.domain.port import FIRST_SPARE_NUMBER, Port
from insula.domain.project_network import default_network, free_addresses, place, port_wish, space_id_of

_NETWORK = Network("net_1", 1, "10.42.0.0/16", "fd42::/64")


def _wish(number: int) -> Port:
    return port_wish(f"ins_{number}", f"02:00:00:00:00:{number:02x}")


def test_projects_have_spaces_of_their_own() -> None:
    ids = {space_id_of(project) for project in ("a", "b", "p" * 63)}
    assert len(ids) == 3
    for space_id in ids:
        check(Space(space_id))


def test_the_network_of_a_project_fits_into_its_space() -> None:
    one, other = (default_network(project, now_utc()) for project in ("a", "b"))
    assert not ip_network(one.ipv6).overlaps(ip_network(other.ipv6))
    check(Space("spc_1", (one.network,)))


def test_ports_get_the_next_numbers_and_the_first_addresses() -> None:
    placed: list[Port] = []
    for number in range(3):
        placed.append(place(_wish(number), _NETWORK, placed))
    assert [(port.number, port.ipv4, port.ipv6) for port in placed] == [
        (1, "10.42.0.16", "fd42::10"),
        (2, "10.42.0.17", "fd42::11"),
        (3, "10.42.0.18", "fd42::12"),
    ]
    again = place(_wish(9), _NETWORK, [placed[0], placed[2]])
    assert (again.number, again.ipv4) == (4, "10.42.0.17")


def test_a_place_that_was_chosen_is_kept_while_it_is_free() -> None:
    chosen = replace(_wish(1), number=FIRST_SPARE_NUMBER + 1, network_id="net_1", ipv4="10.42.255.254", ipv6="fd42::fe")
    assert place(chosen, _NETWORK, ()) == chosen
    for other in (replace(chosen, id="prt_2", ipv4="", ipv6=""), replace(chosen, id="prt_2", number=5, ipv6="")):
        moved = place(chosen, _NETWORK, [other])
        assert (moved.id, moved.ipv4) == (chosen.id, "10.42.0.16")
        assert not moved.is_placed_like(chosen)
    assert place(chosen, replace(_NETWORK, id="net_2"), ()).number == 1


def test_a_network_that_is_full_says_so() -> None:
    small = Network("net_1", 1, "10.0.0.0/29")
    placed: list[Port] = []
    for number in range(5):  # eight less the network, its router and its broadcast
        placed.append(place(_wish(number), small, placed))
    with pytest.raises(CapacityExceeded, match=r"10\.0\.0\.0/29"):
        place(_wish(6), small, placed)


def test_the_last_addresses_are_given_from_the_end() -> None:
    assert free_addresses(_NETWORK, {"10.42.255.254"}.__contains__, last=True) == ("10.42.255.253", "fd42::fffe")
    assert free_addresses(Network("net_1", 1), lambda _: False) == ("", "")
