"""Users in the database: what happens once happens once, however many ask at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from insula.base.clock import now_utc
from insula.base.errors import Conflict, HostFailure, InsulaError, NotFound
from insula.control.store import Link, Store
from insula.control.store.user_schema import user_account, user_link, user_session
from insula.domain.access import DEFAULT_PROJECT
from insula.domain.ids import Kind, new_id
from insula.domain.user import LinkKind, Membership, Role, Session, User

NOW = now_utc()
SOON = NOW + timedelta(hours=1)


def new_user(name: str, *, owner: bool = False) -> User:
    return User(new_id(Kind.USER), name, NOW, owner=owner, totp_enabled=False, disabled=False, pending=not owner)


def new_session(user: str, at: datetime = NOW) -> Session:
    return Session(new_id(Kind.SESSION), user, at, at, at + timedelta(days=1), "Browser/1.0", "192.0.2.7")


async def add(store: Store, name: str, role: Role = Role.MEMBER) -> User:
    link = Link(LinkKind.INVITATION, f"link of {name}", SOON)
    await store.users.invite(new_user(name), Membership(DEFAULT_PROJECT, role, NOW), link)
    return await store.users.accept_link(f"link of {name}", f"hash of {name}", NOW)


async def succeeded(*calls: Awaitable[object]) -> int:
    """How many of several at once were done; whatever else they raise than a refusal is raised."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    strange = [each for each in results if isinstance(each, BaseException) and not isinstance(each, InsulaError)]
    assert strange == []
    return sum(not isinstance(each, BaseException) and each is not False for each in results)


async def rows(store: Store, table: sa.Table) -> int:
    query = sa.select(sa.func.count()).select_from(table)
    return await store._database.read(lambda connection: int(connection.execute(query).scalar_one()))


async def test_one_owner_is_made_of_many_at_once(store: Store) -> None:
    await store.users.add_first_link(Link(LinkKind.FIRST, "first", SOON))
    owners = [new_user(f"owner{number}", owner=True) for number in range(4)]
    assert await succeeded(*(store.users.make_owner("first", owner, "hash") for owner in owners)) == 1
    assert await rows(store, user_account) == 1
    assert await rows(store, user_link) == 0
    with pytest.raises(Conflict):
        await store.users.add_first_link(Link(LinkKind.FIRST, "another", SOON))


async def test_the_database_itself_refuses_a_second_owner(store: Store) -> None:
    await store.users.add_first_link(Link(LinkKind.FIRST, "first", SOON))
    await store.users.make_owner("first", new_user("ada", owner=True), "hash")
    await add(store, "bob")
    change = user_account.update().where(user_account.c.name == "bob").values(owner=True)
    with pytest.raises(HostFailure):
        await store._database.write(lambda connection: connection.execute(change).rowcount)


async def test_a_link_is_used_once(store: Store) -> None:
    ada = await add(store, "ada")
    await store.users.add_link(ada.id, Link(LinkKind.RESET, "old", SOON))
    await store.users.add_link(ada.id, Link(LinkKind.RESET, "new", SOON))
    with pytest.raises(NotFound):
        await store.users.find_link("old", NOW)
    assert await succeeded(*(store.users.accept_link("new", f"hash {number}", NOW) for number in range(4))) == 1


async def test_a_code_is_used_once(store: Store) -> None:
    ada = await add(store, "ada")
    await store.accounts.offer_totp(ada.id, "sealed")
    assert await store.accounts.take_totp(ada.id, "sealed", 100, ("one", "two"))
    assert await succeeded(*(store.accounts.use_step(ada.id, 101) for _ in range(4))) == 1
    assert not await store.accounts.use_step(ada.id, 100)
    assert await succeeded(*(store.accounts.use_recovery(ada.id, "one") for _ in range(4))) == 1
    assert await store.accounts.use_recovery(ada.id, "two")


async def test_two_owners_cannot_remove_each_other(store: Store) -> None:
    await add(store, "ada", Role.OWNER)
    await add(store, "bob", Role.OWNER)
    calls = [store.users.remove(DEFAULT_PROJECT, name, forced=False) for name in ("ada", "bob")]
    assert await succeeded(*calls) == 1
    assert [each.role for each in await store.users.members(DEFAULT_PROJECT)] == [Role.OWNER]


async def test_nobody_is_invited_twice_at_once(store: Store) -> None:
    role = Membership(DEFAULT_PROJECT, Role.READER, NOW)
    links = [Link(LinkKind.INVITATION, f"link{number}", SOON) for number in range(4)]
    made = await asyncio.gather(*(store.users.invite(new_user("ada"), role, link) for link in links))
    assert len({each.id for each in made}) == 1
    assert (await rows(store, user_account), await rows(store, user_link)) == (1, 1)


async def test_a_sign_in_with_a_password_that_was_changed_meanwhile(store: Store) -> None:
    ada = await add(store, "ada")
    assert await store.sessions.add(new_session("ada"), "one", "hash of ada")
    await store.accounts.set_password(ada.id, "another")
    assert not await store.sessions.add(new_session("ada"), "two", "hash of ada")
    assert await store.sessions.list() == []
    await store.users.set_disabled("ada", True)
    assert not await store.sessions.add(new_session("ada"), "three", "another")


async def test_what_has_ended_goes_with_the_next_sign_in(store: Store) -> None:
    ada = await add(store, "ada")
    await add(store, "bob")
    await store.users.add_link(ada.id, Link(LinkKind.RESET, "reset", SOON))
    await store.sessions.add(new_session("ada"), "one", "hash of ada")
    later = new_session("bob", NOW + timedelta(days=1))
    await store.sessions.add(later, "two", "hash of bob")
    assert await store.sessions.list() == [later]
    assert await rows(store, user_link) == 0


async def test_all_of_a_user_goes_with_them(store: Store) -> None:
    ada = await add(store, "ada")
    await store.users.add_link(ada.id, Link(LinkKind.RESET, "reset", SOON))
    session = new_session("ada")
    await store.sessions.add(session, "one", "hash of ada")
    found = await store.sessions.find("one")
    assert found is not None
    assert (found.session, found.user, [held.role for held in found.memberships]) == (session, ada, [Role.MEMBER])
    await store.users.remove(DEFAULT_PROJECT, "ada", forced=False)
    assert [await rows(store, table) for table in (user_account, user_session, user_link)] == [0, 0, 0]
    assert await store.sessions.find("one") is None
    assert await store.users.home("ada") == ""


async def test_disabling_and_enabling(store: Store) -> None:
    ada = await add(store, "ada")
    assert await store.users.set_disabled("ada", True) == replace(ada, disabled=True)
    assert await store.users.set_disabled("ada", False) == ada
