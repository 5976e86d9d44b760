"""Networks of projects and the ports of instances, as they are recorded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from insula.base.clock import now_utc
from insula.control.store import Acceptance, Store
from insula.domain.access import Project
from insula.domain.ids import Kind, is_id
from insula.domain.instance import Instance
from insula.domain.project_network import port_wish

from .older import step_back
from .samples import make_instance, make_operation


def _connected(name: str) -> Instance:
    made = make_instance(name, forwards=())
    return replace(made, ports=(port_wish(made.id, made.mac),))


async def _accept(store: Store, instance: Instance) -> Instance:
    await store.accept(Acceptance(make_operation(instance), instance=instance))
    return await store.instances.get(instance.project, instance.name)


async def test_the_first_instance_of_a_project_brings_its_network(store: Store) -> None:
    assert await store.networks.list("default") == []
    made = await asyncio.gather(*(_accept(store, _connected(f"web{number}")) for number in range(4)))
    (network,) = await store.networks.list("default")
    assert (network.name, network.number, network.gateway) == ("default", 1, True)
    ports = [port for instance in made for port in instance.ports]
    assert {port.number for port in ports} == {1, 2, 3, 4}
    assert len({port.ipv4 for port in ports}) == len({port.ipv6 for port in ports}) == 4
    assert {port.network_id for port in ports} == {network.id}


async def test_one_without_a_card_needs_no_network(store: Store) -> None:
    assert (await _accept(store, make_instance("alone"))).ports == ()
    assert await store.networks.list("default") == []


async def test_revisions_only_grow(store: Store) -> None:
    await store.projects.create(Project("other", now_utc()))
    seen = [await store.networks.next_revision("default") for _ in range(3)]
    assert seen == [1, 2, 3]
    assert await store.networks.next_revision("other") == 1


async def test_instances_from_before_networks_get_a_port(tmp_path: Path) -> None:
    path = tmp_path / "insula.sqlite"
    store = await Store.open(f"sqlite:///{path}")
    for name in ("one", "two"):
        await _accept(store, make_instance(name, forwards=()))
    await store.close()
    step_back(path, "0006")
    store = await Store.open(f"sqlite:///{path}")
    (network,) = await store.networks.list("default")
    ports = [port for instance in await store.instances.all() for port in instance.ports]
    assert [(port.number, port.ipv4, port.mac) for port in ports] == [
        (1, "10.42.0.16", "52:54:00:00:00:01"),
        (2, "10.42.0.17", "52:54:00:00:00:01"),
    ]
    assert all(is_id(port.id, Kind.PORT) and port.network_id == network.id for port in ports)
    third = (await _accept(store, _connected("three"))).ports[0]
    assert (third.number, third.ipv4) == (3, "10.42.0.18")
    assert third.ipv6.removesuffix("12") == ports[0].ipv6.removesuffix("10")
    await store.close()
