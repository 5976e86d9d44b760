"""A whole service without sockets: the real store, engine, actions and application over a node on the fake driver."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from litestar.types import ASGIApp

from insula.base.clock import now_utc
from insula.control.actions import Actions, SigningKeys
from insula.control.actions.caller import Caller
from insula.control.actions.secret import hash_secret, new_secret
from insula.control.nodes import Nodes, Spaces
from insula.control.reconcile import Recorder
from insula.control.store import Histories, Store
from insula.domain.access import DEFAULT_PROJECT, Identity, Project, Scope, Token
from insula.domain.address import AddressPool, ReservedAddress
from insula.domain.backup import Backup, BackupStore
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Instance
from insula.domain.operation import Operation
from insula.domain.project_firewall import ProjectFirewall
from insula.domain.project_network import ProjectNetwork
from insula.domain.snapshot import Snapshot
from insula.domain.volume import Volume
from insula.frontends.api.app import make_app
from insula.frontends.dialects.front import with_dialects
from insula.frontends.limits import RateLimits
from insula.frontends.panel.app import with_panel
from insula.node.agent import Node
from tests.operations.control import Control, make_node, open_control

_numbers = itertools.count(1)

OTHER_PROJECT = "other"
PLENTY_PER_MINUTE = 1_000_000
PATIENCE_S = 20.0
USERS_PASSWORD = "violet-otter-sings-alone"


@dataclass
class World:
    """The parts of a running service, and ways to call it."""

    control: Control
    actions: Actions
    app: ASGIApp
    closing: asyncio.Event
    places: Path  # where backup stores are
    signing: SigningKeys
    histories: Histories
    recorder: Recorder
    _secrets: dict[tuple[str, frozenset[Scope]], str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return self.control.store

    async def secret(self, *scopes: Scope, project: str = DEFAULT_PROJECT) -> str:
        """The secret of a token with exactly these scopes."""
        key = (project, frozenset(scopes))
        if key not in self._secrets:
            self._secrets[key] = (await self.new_token(scopes, project))[1]
        return self._secrets[key]

    async def new_token(
        self, scopes: Sequence[Scope], project: str = DEFAULT_PROJECT, expires_at: datetime | None = None
    ) -> tuple[Token, str]:
        secret = new_secret()
        token = Token(
            new_id(Kind.TOKEN), f"t-{project}", project, frozenset(scopes), now_utc(), expires_at, None, False
        )
        return await self.store.tokens.add(token, hash_secret(secret)), secret

    async def expired_secret(self) -> str:
        return (await self.new_token([Scope.ADMIN], expires_at=now_utc() - timedelta(seconds=1)))[1]

    def client(self, secret: str = "") -> httpx.AsyncClient:
        """An HTTP client of the application, over TCP as far as it can tell."""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        app: Any = self.app
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://insula", headers=headers)

    async def call(self, method: str, path: str, secret: str, **request: Any) -> httpx.Response:
        async with self.client(secret) as client:
            return await client.request(method, path, **request)

    async def admin(self, method: str, path: str, project: str = DEFAULT_PROJECT, **request: Any) -> httpx.Response:
        return await self.call(method, path, await self.secret(Scope.ADMIN, project=project), **request)

    async def finish(self, answer: httpx.Response, project: str = DEFAULT_PROJECT) -> Operation:
        """The accepted operation of an answer, when it is over."""
        assert answer.status_code == 202, answer.text
        return await self.control.wait(await self.store.operations.get(project, answer.json()["id"]))

    async def create(self, name: str, project: str = DEFAULT_PROJECT, **wish: Any) -> Instance:
        """A running instance."""
        body = {"name": name, "image": "tiny", "plan": "micro-1", **wish}
        ended = await self.finish(await self.admin("POST", "/v1/instances", project, json=body), project)
        assert ended.state == "succeeded", ended.error
        return await self.store.instances.get(project, name)

    async def create_volume(self, name: str, project: str = DEFAULT_PROJECT, **wish: Any) -> Volume:
        """A volume of 1 GiB."""
        body = {"name": name, "size_gib": 1, **wish}
        ended = await self.finish(await self.admin("POST", "/v1/volumes", project, json=body), project)
        assert ended.state == "succeeded", ended.error
        return await self.store.volumes.get(project, name)

    async def create_snapshot(self, instance: str, project: str = DEFAULT_PROJECT, **wish: Any) -> Snapshot:
        """A snapshot of an instance."""
        body = {"instance": instance, **wish}
        ended = await self.finish(await self.admin("POST", "/v1/snapshots", project, json=body), project)
        assert ended.state == "succeeded", ended.error
        return await self.store.snapshots.get(project, ended.target_name)

    async def add_store(self, name: str, project: str = DEFAULT_PROJECT, **wish: Any) -> BackupStore:
        """A backup store in a folder of its own."""
        place = self.places / f"{project}-{name}"
        place.mkdir(parents=True, exist_ok=True)
        body = {"name": name, "kind": "folder", "path": str(place), **wish}
        answer = await self.admin("POST", "/v1/backup-stores", project, json=body)
        assert answer.status_code == 201, answer.text
        return await self.store.backup_stores.get(project, name)

    async def add_network(self, name: str, project: str = DEFAULT_PROJECT) -> ProjectNetwork:
        """A network that nobody is in."""
        answer = await self.admin("POST", "/v1/networks", project, json={"name": name})
        assert answer.status_code == 201, answer.text
        return await self.store.networks.get(project, name)

    async def add_pool(self, name: str) -> AddressPool:
        """A pool of addresses that nobody has reserved one of."""
        first = f"2001:db8:{next(_numbers):x}::"
        answer = await self.admin("POST", "/v1/address-pools", json={"name": name, "addresses": f"{first}/120"})
        assert answer.status_code == 201, answer.text
        return next(pool for pool in await self.store.addresses.pools() if pool.name == name)

    async def add_address(self, name: str, project: str = DEFAULT_PROJECT) -> ReservedAddress:
        """An address of a pool of its own, which leads nowhere."""
        pool = await self.add_pool(name)
        answer = await self.admin("POST", "/v1/addresses", project, json={"pool": pool.name})
        assert answer.status_code == 201, answer.text
        return await self.store.addresses.get(project, answer.json()["id"])

    async def add_firewall(self, name: str, project: str = DEFAULT_PROJECT) -> ProjectFirewall:
        """A firewall with one rule, which applies to nobody."""
        body = {
            "name": name,
            "rules": [{"direction": "inbound", "traffic": "tcp", "ports": [{"first": 22, "last": 22}]}],
        }
        answer = await self.admin("POST", "/v1/firewalls", project, json=body)
        assert answer.status_code == 201, answer.text
        return await self.store.firewalls.get(project, name)

    async def add_user(self, name: str, role: str, project: str = DEFAULT_PROJECT) -> str:
        """A user with a role who has accepted the invitation; the secret of a session of theirs."""
        root = Caller(Identity("local:root", project, frozenset({Scope.ADMIN})), "req-invite")
        _, link = await self.actions.users.invite(root, name, role)
        await self.actions.users.accept_invitation(link, USERS_PASSWORD)
        return await self.sign_in(name)

    async def add_owner(self, name: str = "the-owner") -> str:
        """The owner of the installation; the secret of a session of theirs."""
        link = await self.actions.users.first_link("")
        assert link is not None
        await self.actions.users.make_owner(link.partition("key=")[2], name, USERS_PASSWORD)
        return await self.sign_in(name)

    async def sign_in(self, name: str) -> str:
        made = await self.actions.sessions.sign_in(name, USERS_PASSWORD, client="192.0.2.7", agent="tests")
        return made.secret

    async def back_up(self, instance: str, store: str, project: str = DEFAULT_PROJECT, **wish: Any) -> Backup:
        """A backup of an instance."""
        body = {"instance": instance, "store": store, **wish}
        ended = await self.finish(await self.admin("POST", "/v1/backups", project, json=body), project)
        assert ended.state == "succeeded", ended.error
        return await self.store.backups.get(project, ended.target_name)


def quiet(message: str, percent: int = -1) -> None:
    """Progress that nobody watches."""


@contextlib.asynccontextmanager
async def make_world(
    folder: Path, *, rate_limit_per_minute: int = PLENTY_PER_MINUTE, node: Node | None = None
) -> AsyncIterator[World]:
    """A service in `folder` (keep its path short: sockets), with the projects `default` and `other`."""
    async with (
        node or make_node(folder / "node") as made,
        open_control(f"sqlite:///{folder / 'insula.sqlite'}", made) as control,
    ):
        await made.prepare_image("tiny", quiet)
        await control.store.projects.create(Project(OTHER_PROJECT, now_utc()))
        nodes = Nodes({"local": made})
        spaces = Spaces(control.store, nodes)
        signing = SigningKeys(secrets.token_bytes(32))
        histories = await Histories.open(folder / "history.sqlite")
        actions = Actions(
            control.store, control.engine, nodes, spaces, control.scheduler, signing=signing, histories=histories
        )
        closing = asyncio.Event()
        limits = RateLimits(rate_limit_per_minute)
        app = with_dialects(make_app(actions, limits, closing=closing), actions, limits)
        app = with_panel(app, actions, limits, closing=closing)
        recorder = Recorder(control.store, nodes, histories)
        yield World(control, actions, app, closing, folder / "stores", signing, histories, recorder)
        await histories.close()
