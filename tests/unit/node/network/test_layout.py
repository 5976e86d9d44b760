"""Devices, addresses and routes of a space, and the way from one layout to another."""

from __future__ import annotations

from dataclasses import replace

from insula.domain.network import Member, Network, Space
from insula.domain.port import Port
from insula.node.network.layout import Layout, Uplink, changes, layout_of, observed

_NETWORK = Network("net_1", 7, "10.1.0.0/24", "fd00:1::/64")
_PORT = Port("prt_1", 3, "ins_1", "net_1", "02:00:00:00:00:01", "10.1.0.5", "fd00:1::5", ("10.9.0.0/16",))
_SPACE = Space("prj_1", (_NETWORK,), (Member("ins_1", "a"),), (_PORT,))


def test_a_port_is_a_device_with_a_route_to_its_addresses() -> None:
    layout = layout_of(_SPACE, Uplink("up0", 1500, ("100.126.0.100/24",), ("100.126.0.2",)))
    assert set(layout.links) == {"lo", "n7", "p7-3", "up0"}
    assert ("10.1.0.5/32", "p7-3", "", "10.1.0.1") in layout.routes
    assert ("10.9.0.0/16", "p7-3", "10.1.0.5", "") in layout.routes
    assert ("10.1.0.0/24", "", "", "") in layout.routes, "whoever is not there is not looked for outside"
    assert ("0.0.0.0/0", "up0", "100.126.0.2", "") in layout.routes
    assert ("p7-3", "fd00:1::5", "02:00:00:00:00:01") in layout.neighbours


def test_the_same_layout_needs_nothing_and_an_empty_one_everything() -> None:
    layout = layout_of(_SPACE)
    assert changes(layout, layout_of(_SPACE)) == []
    todo = changes(Layout(), layout)
    assert ("tap", "p7-3") in todo
    assert todo.index(("tap", "p7-3")) < todo.index(("route", "10.1.0.5/32", "p7-3", "", "10.1.0.1"))


def test_what_goes_with_a_device_is_not_named_again() -> None:
    layout = layout_of(_SPACE)
    todo = changes(layout, layout_of(replace(_SPACE, ports=())))
    assert todo == [("link-away", "p7-3")]


def test_a_route_that_moves_is_replaced_in_one_go() -> None:
    moved = replace(_SPACE, ports=(replace(_PORT, number=4),))
    todo = changes(layout_of(_SPACE), layout_of(moved))
    assert not any(change[0] == "route-away" for change in todo)
    assert ("route", "10.1.0.5/32", "p7-4", "", "10.1.0.1") in todo


def test_limits_hold_back_what_leaves_and_what_comes_in() -> None:
    layout = layout_of(replace(_SPACE, ports=(replace(_PORT, megabits_per_second=50),)))
    assert layout.limits == {"p7-3": 50, "i7-3": 50}
    todo = changes(layout_of(_SPACE), layout)
    assert [change[0] for change in todo] == ["ifb", "link", "limit", "limit", "redirect"]
    back = changes(layout, layout_of(_SPACE))
    assert back == [("redirect-away", "p7-3", "i7-3"), ("link-away", "i7-3"), ("limit", "p7-3", 0)]


def test_what_others_have_put_there_is_not_ours() -> None:
    layout = layout_of(_SPACE)
    found = {
        "links": {
            "lo": ["00:00:00:00:00:00", 65536, True],
            "n7": ["06:69:6e:73:75:6c", 1500, True],
            "p7-3": ["06:69:6e:73:75:6c", 1500, False],
            "p7-9": ["06:69:6e:73:75:6c", 1500, True],
            "wg0": ["", 1420, True],
        },
        "addresses": [["wg0", "10.5.0.1/24"], *map(list, layout.addresses)],
        "routes": [["10.5.0.0/24", "wg0", "", ""], *map(list, layout.routes)],
        "neighbours": [*map(list, layout.neighbours), ["wg0", "10.5.0.2", "02:00:00:00:00:09"]],
        "proxies": [],
    }
    todo = changes(observed(found, layout), layout)
    assert todo == [("link-away", "p7-9"), ("link", "p7-3", "06:69:6e:73:75:6c", 1500)]
