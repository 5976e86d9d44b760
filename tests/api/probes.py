"""How each endpoint is called to prove its authorization; a test fails when an endpoint is missing here."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from insula.base.clock import now_utc
from insula.control.actions.caller import ACTIONS
from insula.domain.access import DEFAULT_PROJECT, Scope, SshKey
from insula.domain.ids import Kind, new_id
from insula.domain.user import SCOPES_OF, Role
from insula.frontends.api.endpoint import ENDPOINTS, Endpoint
from tests.api.world import OTHER_PROJECT, World

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGihrpT22+K63uRJhB+YFpOBBCOPoNY8mq6XHCwEWrDG ada@laptop"


@dataclass(frozen=True)
class Probe:
    """A request that gets past validation. `{…}` in paths is filled from :class:`Targets`."""

    json: Any = None
    params: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None

    def request(self) -> dict[str, Any]:
        given = {"json": self.json, "params": dict(self.params) or None, "content": self.content}
        return {name: value for name, value in given.items() if value is not None}


PROBES: Mapping[str, Probe] = {
    "GET /v1/health": Probe(),
    "GET /v1/openapi.json": Probe(),
    "GET /v1/ca": Probe(),
    "GET /v1/identity": Probe(),
    "GET /v1/instances": Probe(),
    "POST /v1/instances": Probe(json={"name": "probe", "image": "tiny", "plan": "micro-1"}),
    "GET /v1/instances/{instance}": Probe(),
    "PATCH /v1/instances/{instance}": Probe(json={"tags": ["probed"]}),
    "POST /v1/instances/{instance}/lease": Probe(json={"lease_s": 3600}),
    "DELETE /v1/instances/{instance}": Probe(),
    "POST /v1/instances/{instance}/start": Probe(),
    "POST /v1/instances/{instance}/stop": Probe(json={"graceful_s": 0}),
    "POST /v1/instances/{instance}/reboot": Probe(json={"graceful_s": 0}),
    "POST /v1/instances/{instance}/pause": Probe(),
    "POST /v1/instances/{instance}/resume": Probe(),
    "POST /v1/instances/{instance}/hibernate": Probe(),
    "POST /v1/instances/{instance}/fork": Probe(),
    "POST /v1/instances/{instance}/resize": Probe(json={"plan": "micro-2"}),
    "POST /v1/instances/{instance}/rebuild": Probe(),
    "POST /v1/instances/{instance}/revert": Probe(json={"snapshot": "unknown"}),
    "POST /v1/instances/{instance}/exec": Probe(json={"argv": ["id"]}),
    "GET /v1/instances/{instance}/files": Probe(params={"path": "/etc/probe"}),
    "PUT /v1/instances/{instance}/files": Probe(params={"path": "/etc/probe"}, content=b"probe"),
    "GET /v1/instances/{instance}/console/log": Probe(),
    "GET /v1/instances/{instance}/traffic": Probe(),
    "GET /v1/instances/{instance}/metrics": Probe(),
    "GET /v1/metrics": Probe(),
    "GET /v1/use": Probe(),
    "GET /v1/host/metrics": Probe(),
    "GET /v1/host/use": Probe(),
    "POST /v1/instances/{instance}/networks": Probe(json={"network": "default"}),
    "DELETE /v1/instances/{instance}/networks/{network}": Probe(),
    "PUT /v1/instances/{instance}/hostname": Probe(json={"hostname": "probe"}),
    "GET /v1/volumes": Probe(),
    "POST /v1/volumes": Probe(json={"name": "probe", "size_gib": 1}),
    "GET /v1/volumes/{volume}": Probe(),
    "PATCH /v1/volumes/{volume}": Probe(json={"tags": ["probed"]}),
    "DELETE /v1/volumes/{volume}": Probe(),
    "POST /v1/volumes/{volume}/attach": Probe(json={"instance": "target-default"}),
    "POST /v1/volumes/{volume}/detach": Probe(),
    "POST /v1/volumes/{volume}/grow": Probe(json={"size_gib": 2}),
    "POST /v1/volumes/{volume}/limit": Probe(json={"disk_iops": 100}),
    "GET /v1/snapshots": Probe(),
    "POST /v1/snapshots": Probe(json={"instance": "target-default"}),
    "GET /v1/snapshots/{snapshot}": Probe(),
    "PATCH /v1/snapshots/{snapshot}": Probe(json={"tags": ["probed"]}),
    "DELETE /v1/snapshots/{snapshot}": Probe(),
    "GET /v1/backup-stores": Probe(),
    "POST /v1/backup-stores": Probe(json={"name": "probe", "kind": "folder", "path": "/proc/nowhere"}),
    "GET /v1/backup-stores/{store}": Probe(),
    "DELETE /v1/backup-stores/{store}": Probe(),
    "GET /v1/backup-stores/{store}/key": Probe(),
    "POST /v1/backup-stores/{store}/check": Probe(),
    "POST /v1/backup-stores/{store}/prune": Probe(),
    "POST /v1/backup-stores/{store}/repair": Probe(),
    "POST /v1/backup-stores/{store}/import": Probe(),
    "GET /v1/backups": Probe(),
    "POST /v1/backups": Probe(json={"instance": "target-default", "store": "target-default"}),
    "GET /v1/backups/{backup}": Probe(),
    "PATCH /v1/backups/{backup}": Probe(json={"protected": False}),
    "DELETE /v1/backups/{backup}": Probe(),
    "POST /v1/backups/{backup}/drill": Probe(),
    "GET /v1/backups/{backup}/files": Probe(),
    "GET /v1/backups/{backup}/content": Probe(params={"path": "/etc/probe"}),
    "GET /v1/backup-schedules": Probe(),
    "GET /v1/instances/{instance}/backup-schedule": Probe(),
    "PUT /v1/instances/{instance}/backup-schedule": Probe(json={"store": "target-default", "every": "daily"}),
    "DELETE /v1/instances/{instance}/backup-schedule": Probe(),
    "GET /v1/images": Probe(),
    "POST /v1/images": Probe(json={"name": "imported", "path": "/nowhere.qcow2"}),
    "POST /v1/images/publish": Probe(json={"name": "probe", "source": "target-default"}),
    "POST /v1/images/{image}/deprecate": Probe(),
    "POST /v1/images/{image}/share": Probe(json={"project": "*"}),
    "POST /v1/images/{image}/unshare": Probe(json={"project": "*"}),
    "GET /v1/images/{image}": Probe(),
    "POST /v1/images/{image}/prepare": Probe(),
    "POST /v1/images/{image}/warm": Probe(),
    "DELETE /v1/images/{image}": Probe(),
    "GET /v1/plans": Probe(),
    "POST /v1/instances/{instance}/forwards": Probe(json={"guest_port": 80}),
    "DELETE /v1/instances/{instance}/forwards/{host_port}": Probe(),
    "GET /v1/address-pools": Probe(),
    "POST /v1/address-pools": Probe(json={"name": "probe", "addresses": "198.51.100.0/28"}),
    "DELETE /v1/address-pools/{pool}": Probe(),
    "GET /v1/addresses": Probe(),
    "POST /v1/addresses": Probe(json={"pool": "target-default"}),
    "GET /v1/addresses/{address}": Probe(),
    "DELETE /v1/addresses/{address}": Probe(),
    "POST /v1/addresses/{address}/assign": Probe(json={"instance": "target-default"}),
    "POST /v1/addresses/{address}/unassign": Probe(),
    "GET /v1/addresses/{address}/history": Probe(),
    "GET /v1/networks": Probe(),
    "POST /v1/networks": Probe(json={"name": "probe"}),
    "GET /v1/networks/{network}": Probe(),
    "PATCH /v1/networks/{network}": Probe(json={"gateway": True}),
    "DELETE /v1/networks/{network}": Probe(),
    "GET /v1/network-joins": Probe(),
    "POST /v1/networks/{network}/join": Probe(json={"network": "default"}),
    "POST /v1/networks/{network}/part": Probe(json={"network": "default"}),
    "GET /v1/firewalls": Probe(),
    "POST /v1/firewalls": Probe(json={"name": "probe"}),
    "GET /v1/firewalls/{firewall}": Probe(),
    "PATCH /v1/firewalls/{firewall}": Probe(json={"outbound_default": "drop"}),
    "DELETE /v1/firewalls/{firewall}": Probe(),
    "POST /v1/firewalls/{firewall}/rules": Probe(json={"rule": {"direction": "inbound"}}),
    "DELETE /v1/firewalls/{firewall}/rules/{rule}": Probe(),
    "POST /v1/firewalls/{firewall}/apply": Probe(json={"tags": ["probed"]}),
    "POST /v1/firewalls/{firewall}/lift": Probe(json={"tags": ["probed"]}),
    "GET /v1/firewalls/{firewall}/traffic": Probe(),
    "POST /v1/firewall-test": Probe(json={"instance": "target-default", "peer": "192.0.2.7", "port": 22}),
    "GET /v1/keys": Probe(),
    "POST /v1/keys": Probe(json={"name": "probe", "public_key": PUBLIC_KEY}),
    "GET /v1/keys/{key}": Probe(),
    "PATCH /v1/keys/{key}": Probe(json={"name": "other"}),
    "DELETE /v1/keys/{key}": Probe(),
    "GET /v1/tokens": Probe(),
    "POST /v1/tokens": Probe(json={"name": "probe", "scopes": ["instances:read"]}),
    "DELETE /v1/tokens/{token}": Probe(),
    "POST /v1/first-link": Probe(),
    "GET /v1/all-users": Probe(),
    "GET /v1/users": Probe(),
    "POST /v1/users": Probe(json={"name": "probe", "role": "reader"}),
    "PUT /v1/users/{user}/role": Probe(json={"role": "reader"}),
    "DELETE /v1/users/{user}": Probe(),
    "POST /v1/users/{user}/disable": Probe(),
    "POST /v1/users/{user}/enable": Probe(),
    "POST /v1/users/{user}/reset-password": Probe(),
    "GET /v1/sessions": Probe(),
    "DELETE /v1/sessions/{session}": Probe(),
    "GET /v1/projects": Probe(),
    "POST /v1/projects": Probe(json={"name": "probe"}),
    "DELETE /v1/projects/{project}": Probe(),
    "GET /v1/operations": Probe(),
    "GET /v1/operations/{operation}": Probe(),
    "POST /v1/operations/{operation}/cancel": Probe(),
    "POST /v1/operations/{operation}/retry": Probe(),
    "GET /v1/operations/{operation}/events": Probe(),
    "GET /v1/host/capacity": Probe(),
    "GET /v1/host/nodes": Probe(),
    "GET /v1/host/doctor": Probe(),
    "POST /v1/host/repair": Probe(json={"remove": False}),
    "GET /v1/audit": Probe(),
}

# What an endpoint needs besides its own scope to succeed.
ALSO_NEEDED: Mapping[str, frozenset[Scope]] = {
    "POST /v1/tokens": frozenset({Scope.INSTANCES_READ}),  # nobody gives what they do not hold
    "POST /v1/operations/{operation}/retry": frozenset({Scope.INSTANCES_WRITE}),  # nor does again what they may not do
    "POST /v1/users": SCOPES_OF[Role.READER],
    "PUT /v1/users/{user}/role": SCOPES_OF[Role.READER],
    "DELETE /v1/users/{user}": SCOPES_OF[Role.READER],  # nor decides over who may more
}

# Things of the host, which all projects share.
SHARED = frozenset({"image", "project", "pool"})


_numbers = itertools.count()


def key_of(entry: Endpoint) -> str:
    return f"{entry.method} {entry.path}"


GUARDED = [entry for entry in ENDPOINTS if entry.action]
# What administrators alone may do, they may in every project.
OWNED = [
    entry
    for entry in GUARDED
    if entry.parameters and not SHARED & set(entry.parameters) and ACTIONS[entry.action].scope is not Scope.ADMIN
]


def scopes_without(scope: Scope) -> list[Scope]:
    """All scopes, except those that grant `scope`."""
    resource = scope.partition(":")[0]
    return [held for held in Scope if held not in (scope, Scope.ADMIN) and held != f"{resource}:write"]


@dataclass(frozen=True)
class Targets:
    """One of each thing in each of two projects."""

    of_project: Mapping[str, Mapping[str, str]]

    def path(self, entry: Endpoint, project: str = DEFAULT_PROJECT) -> str:
        return entry.path.format(**self.of_project[project])


async def make_targets(world: World) -> Targets:
    made = {}
    for project in (DEFAULT_PROJECT, OTHER_PROJECT):
        instance = await world.create(f"target-{project}", project)
        key = SshKey(new_id(Kind.KEY), project, "target", PUBLIC_KEY + project, f"SHA256:{project}", now_utc())
        await world.store.keys.add(key)
        firewall = await world.add_firewall(f"target-{project}", project)
        token, _ = await world.new_token([Scope.KEYS_READ], project)
        operations = await world.store.operations.list(project)
        volume = await world.create_volume(f"target-{project}", project)
        snapshot = await world.create_snapshot(instance.name, project)
        store = await world.add_store(f"target-{project}", project)
        backup = await world.back_up(instance.name, store.name, project)
        user = f"target-{project}"
        await world.add_user(user, Role.READER, project)
        made[project] = {
            "user": user,
            "session": (await world.store.sessions.list(user))[0].id,
            "instance": instance.id,
            "snapshot": snapshot.id,
            "store": store.id,
            "backup": backup.id,
            "volume": volume.id,
            "key": key.id,
            "firewall": firewall.id,
            "rule": "1",
            "network": (await world.add_network(f"target-{project}", project)).id,
            "address": (await world.add_address(f"target-{project}", project)).address,
            "pool": f"target-{project}",
            "host_port": str(instance.forwards[0].host_port),
            "token": token.id,
            "operation": operations[0].id,
            "image": "tiny",
            "project": "unknown",
        }
    return Targets(made)


async def make_fresh_targets(world: World, entry: Endpoint) -> Targets:
    """Things of the default project that one test may use up."""
    name = f"fresh-{next(_numbers)}"
    fresh = dict.fromkeys(("operation", "instance", "volume", "snapshot", "store", "backup", "key", "token"), "")
    fresh |= {"firewall": "", "rule": "1", "host_port": "", "network": "", "address": "", "pool": ""}
    fresh |= {"image": "tiny", "project": "unknown", "user": name, "session": ""}
    if "instance" in entry.parameters or "operation" in entry.parameters:
        fresh["instance"] = (await world.create(name)).id
        instance = await world.store.instances.get(DEFAULT_PROJECT, name)
        fresh["host_port"] = str(instance.forwards[0].host_port)
        fresh["operation"] = (await world.store.operations.list(DEFAULT_PROJECT))[0].id
    if "volume" in entry.parameters:
        fresh["volume"] = (await world.create_volume(name)).id
    if "snapshot" in entry.parameters:
        fresh["snapshot"] = (await world.create_snapshot((await world.create(name)).name)).id
    if "store" in entry.parameters or "backup" in entry.parameters:
        fresh["store"] = (await world.add_store(name)).id
    if "backup" in entry.parameters:
        fresh["backup"] = (await world.back_up((await world.create(name)).name, name)).id
    if "key" in entry.parameters:
        key = SshKey(new_id(Kind.KEY), DEFAULT_PROJECT, name, PUBLIC_KEY + name, f"SHA256:{name}", now_utc())
        fresh["key"] = (await world.store.keys.add(key)).id
    fresh |= await _fresh_of_networks(world, entry, name)
    if {"instance", "network"} <= set(entry.parameters):
        path = f"/v1/instances/{fresh['instance']}/networks"
        assert (await world.admin("POST", path, json={"network": fresh["network"]})).status_code == 201
    if {"user", "session"} & set(entry.parameters):
        await world.add_user(name, Role.READER)
        fresh["session"] = (await world.store.sessions.list(name))[0].id
    if "token" in entry.parameters:
        fresh["token"] = (await world.new_token([Scope.KEYS_READ]))[0].id
    return Targets({DEFAULT_PROJECT: fresh})


async def _fresh_of_networks(world: World, entry: Endpoint, name: str) -> dict[str, str]:
    fresh: dict[str, str] = {}
    if "network" in entry.parameters:
        fresh["network"] = (await world.add_network(name)).id
    if "address" in entry.parameters:
        fresh["address"] = (await world.add_address(name)).address
    if "pool" in entry.parameters:
        fresh["pool"] = (await world.add_pool(name)).name
    if "firewall" in entry.parameters:
        fresh["firewall"] = (await world.add_firewall(name)).id
    return fresh


async def check_wrong_scope(world: World, targets: Targets, entry: Endpoint) -> None:
    """Every scope but the right ones: 403, and the problem names the scope."""
    scope = ACTIONS[entry.action].scope
    secret = await world.secret(*scopes_without(scope))
    answer = await world.call(entry.method, targets.path(entry), secret, **PROBES[key_of(entry)].request())
    assert answer.status_code == 403, answer.text
    assert answer.json()["code"] == "missing-scope"
