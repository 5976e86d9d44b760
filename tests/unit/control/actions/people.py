"""Users, sessions and what they prove with, over a real store and a clock that tests turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from argon2 import PasswordHasher

from insula.base.clock import now_utc
from insula.control.actions import account, credentials, sessions, users
from insula.control.actions.access import Access
from insula.control.actions.attempts import Attempts
from insula.control.actions.caller import Caller
from insula.control.actions.credentials import Credentials
from insula.control.actions.second_factors import STEP_S, _generator
from insula.control.actions.sessions import SessionActions, SignedIn
from insula.control.actions.signing import SigningKeys
from insula.control.actions.users import UserActions
from insula.control.store import Store
from insula.domain.access import DEFAULT_PROJECT, Identity, Project, Scope
from insula.domain.user import Role

PASSWORD = "violet-otter-sings-alone"
OTHER_PASSWORD = "copper-lamp-walks-home"
OTHER_PROJECT = "other"
HOME_ADDRESS = "192.0.2.7"
ROOT = Caller(Identity("local:root", DEFAULT_PROJECT, frozenset({Scope.ADMIN})), "req-1")


@dataclass
class Clock:
    """Starts at a whole step of second factors."""

    now: datetime = field(default_factory=lambda: now_utc().replace(second=0, microsecond=0))

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def later(self, **length: float) -> None:
        self.now += timedelta(**length)


@dataclass
class People:
    store: Store
    users: UserActions
    sessions: SessionActions
    credentials: Credentials
    clock: Clock

    async def owner(self, name: str = "owner") -> Caller:
        """The installation's owner, just made."""
        link = await self.users.first_link("http://here:7780")
        assert link is not None
        await self.users.make_owner(link.partition("key=")[2], name, PASSWORD)
        return await self.caller(name)

    async def add(self, name: str, role: Role = Role.MEMBER, project: str = DEFAULT_PROJECT) -> Caller:
        """A user with a role who has accepted the invitation, working in that project."""
        _, secret = await self.users.invite(root_of(project), name, role)
        await self.users.accept_invitation(secret, PASSWORD)
        return await self.caller(name, project)

    async def caller(self, name: str, project: str = "") -> Caller:
        identity, _ = await self.sessions.of_secret((await self.sign_in(name)).secret, project)
        return Caller(identity, "req-2")

    async def sign_in(self, name: str, password: str = PASSWORD, code: str = "") -> SignedIn:
        return await self.sessions.sign_in(name, password, code, client=HOME_ADDRESS, agent="Browser/1.0")

    async def with_totp(self, caller: Caller) -> tuple[bytes, list[str]]:
        """Switch the second factor on: its secret, and the recovery codes."""
        user = await self.users.me(caller)
        await self.users.start_totp(caller)
        found = await self.store.accounts.find(user.name)
        assert found is not None
        secret = self.credentials.seal.open(found.totp_offered, user.id)
        codes = await self.users.confirm_totp(caller, self.code(secret))
        return secret, list(codes)

    def code(self, secret: bytes, steps_later: int = 0) -> str:
        moment = int(self.clock.now.timestamp()) + steps_later * STEP_S
        return _generator(secret).generate(moment).decode()

    async def audited(self, action: str, project: str = DEFAULT_PROJECT) -> list[tuple[str, str, str]]:
        """Who did that, to what, with which outcome; the oldest first."""
        lines = await self.store.audit.list(project, limit=1000)
        return [(line.subject, line.target, line.outcome) for line in lines if line.action == action]

    async def all_that_is_audited(self) -> str:
        return "\n".join(str(line) for line in await self.store.audit.list(None, limit=1000))


def root_of(project: str) -> Caller:
    """The host's administrator at work in a project."""
    return Caller(Identity("local:root", project, frozenset({Scope.ADMIN})), "req-3")


async def make_people(store: Store, monkeypatch: pytest.MonkeyPatch) -> People:
    await store.projects.create(Project(OTHER_PROJECT, now_utc()))
    signing = SigningKeys(b"k" * 32)
    access = Access(store, signing)
    shared = Credentials(store, signing)
    clock = Clock()
    shared.attempts = Attempts(clock.seconds)
    # Hashes that are made in tests need not be slow.
    monkeypatch.setattr(shared.passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    for module in (account, credentials, sessions, users):
        monkeypatch.setattr(module, "now_utc", clock)
    return People(store, UserActions(store, access, shared), SessionActions(store, access, shared), shared, clock)
