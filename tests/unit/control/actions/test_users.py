"""Who comes into a project, as what, by whom; and that somebody who decides is left."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from insula.base.errors import Conflict, Forbidden, InsulaError, InvalidInput, NotFound, Unauthenticated
from insula.control.actions.caller import Caller
from insula.domain.access import DEFAULT_PROJECT, Identity, Scope
from insula.domain.user import Role
from tests.unit.control.actions.people import OTHER_PASSWORD, OTHER_PROJECT, PASSWORD, ROOT, People, root_of


async def code_of(call: Awaitable[object]) -> str:
    with pytest.raises(InsulaError) as refused:
        await call
    return refused.value.code


async def roles(people: People, project: str = DEFAULT_PROJECT) -> dict[str, Role]:
    return {each.user.name: each.role for each in (await people.users.list(root_of(project))).items}


def secret_of(link: str | None) -> str:
    assert link is not None
    return link.partition("?key=")[2]


async def test_the_first_account(people: People) -> None:
    link = await people.users.first_link("http://127.0.0.1:7780/")
    assert link is not None
    assert link.startswith("http://127.0.0.1:7780/panel/first?key=")
    made = await people.users.make_owner(secret_of(link), "Ada@Example.org", PASSWORD)
    assert (made.name, made.owner, made.pending) == ("ada@example.org", True, False)
    assert await roles(people) == {"ada@example.org": Role.OWNER}
    await people.sign_in("ada@example.org")
    assert await people.users.first_link("http://127.0.0.1:7780") is None
    assert await code_of(people.users.make_first_link(ROOT)) == "owner-exists"
    assert await code_of(people.users.make_owner(secret_of(link), "eve", PASSWORD)) == "unknown-link"
    assert await people.audited("users.make_owner") == [("user:ada@example.org", "ada@example.org", "done")]
    assert secret_of(link) not in await people.all_that_is_audited()


async def test_a_first_link_ends_after_a_day_or_with_the_next_one(people: People) -> None:
    old = secret_of(await people.users.first_link("http://here"))
    new = secret_of(await people.users.make_first_link(ROOT))
    assert await code_of(people.users.make_owner(old, "ada", PASSWORD)) == "unknown-link"
    people.clock.later(hours=24)
    assert await code_of(people.users.make_owner(new, "ada", PASSWORD)) == "unknown-link"
    newest = secret_of(await people.users.first_link("http://here"))
    people.clock.later(hours=23, minutes=59)
    await people.users.make_owner(newest, "ada", PASSWORD)


async def test_a_first_account_that_cannot_be_leaves_the_link_good(people: People) -> None:
    await people.add("ada")
    secret = secret_of(await people.users.first_link("http://here"))
    with pytest.raises(InvalidInput) as refused:
        await people.users.make_owner(secret, "no name", "short")
    assert set(refused.value.fields) == {"name", "password"}
    assert await code_of(people.users.make_owner(secret, "ada", PASSWORD)) == "user-exists"
    assert await code_of(people.users.accept_invitation(secret, PASSWORD)) == "unknown-link"
    await people.users.make_owner(secret, "owner", PASSWORD)


@pytest.mark.parametrize("secret", ["", "x" * 43, "\ud800", "a" * 100_000])
async def test_other_text_is_no_link(people: People, secret: str) -> None:
    await people.users.first_link("http://here")
    assert await code_of(people.users.make_owner(secret, "ada", PASSWORD)) == "unknown-link"
    assert await code_of(people.users.accept_invitation(secret, PASSWORD)) == "unknown-link"


async def test_an_invitation(people: People) -> None:
    owner = await people.owner()
    invited, secret = await people.users.invite(owner, "ada", Role.MEMBER)
    assert (invited.name, invited.pending, invited.owner) == ("ada", True, False)
    assert await code_of(people.sign_in("ada")) == "wrong-credentials"
    assert await code_of(people.users.accept_invitation(secret, "too-short")) == "weak-password"
    accepted = await people.users.accept_invitation(secret, PASSWORD)
    assert (accepted.id, accepted.pending) == (invited.id, False)
    await people.sign_in("ada")
    assert await code_of(people.users.accept_invitation(secret, OTHER_PASSWORD)) == "unknown-link"
    assert await people.audited("users.invite") == [("user:owner", "ada", "done")]
    assert secret not in await people.all_that_is_audited()


async def test_an_invitation_ends_after_a_week_and_can_be_made_anew(people: People) -> None:
    _, old = await people.users.invite(ROOT, "ada", Role.MEMBER)
    people.clock.later(days=7)
    assert await code_of(people.users.accept_invitation(old, PASSWORD)) == "unknown-link"
    again, new = await people.users.invite(ROOT, "ada", Role.READER)
    assert await roles(people) == {"ada": Role.READER}
    people.clock.later(days=6, hours=23)
    assert (await people.users.accept_invitation(new, PASSWORD)).id == again.id


async def test_only_who_has_no_account_is_invited(people: People) -> None:
    await people.add("ada", project=OTHER_PROJECT)
    await people.users.invite(root_of(OTHER_PROJECT), "pending", Role.MEMBER)
    for name in ("ada", "pending"):
        with pytest.raises(Conflict) as refused:
            await people.users.invite(ROOT, name, Role.MEMBER)
        assert refused.value.code == "user-exists"
    assert await roles(people) == {}


@pytest.mark.parametrize(("name", "role"), [("no name", "member"), ("ada", "king"), ("ada", "")])
async def test_nonsense_invites_nobody(people: People, name: str, role: str) -> None:
    with pytest.raises(InvalidInput):
        await people.users.invite(ROOT, name, role)
    assert await roles(people) == {}


async def test_an_administrator_adds_users_of_other_projects(people: People) -> None:
    await people.add("ada", project=OTHER_PROJECT)
    owner = await people.add("bob", Role.OWNER)
    assert await code_of(people.users.set_role(owner, "ada", DEFAULT_PROJECT, Role.READER)) == "unknown-user"
    await people.users.set_role(ROOT, "ada", DEFAULT_PROJECT, Role.READER)
    assert await roles(people) == {"ada": Role.READER, "bob": Role.OWNER}
    assert await roles(people, OTHER_PROJECT) == {"ada": Role.MEMBER}
    assert await code_of(people.users.set_role(ROOT, "nobody", DEFAULT_PROJECT, Role.READER)) == "unknown-user"
    assert await code_of(people.users.set_role(ROOT, "ada", "nonesuch", Role.READER)) == "unknown-project"


async def test_an_owner_decides_over_their_project_only(people: People) -> None:
    bob = await people.add("bob", Role.OWNER)
    await people.add("ada")
    await people.add("eve", project=OTHER_PROJECT)
    await people.users.set_role(bob, "ada", DEFAULT_PROJECT, Role.OWNER)
    assert [each.user.name for each in (await people.users.list(bob)).items] == ["ada", "bob"]
    assert await code_of(people.users.remove(bob, "eve", DEFAULT_PROJECT)) == "unknown-user"
    assert await code_of(people.users.remove(bob, "eve", OTHER_PROJECT)) == "unknown-project"
    assert await code_of(people.users.set_role(bob, "eve", OTHER_PROJECT, Role.READER)) == "unknown-project"
    for call in (
        people.users.disable(bob, "ada"),
        people.users.enable(bob, "ada"),
        people.users.reset_password(bob, "ada"),
    ):
        assert await code_of(call) == "missing-scope"
    assert await roles(people, OTHER_PROJECT) == {"eve": Role.MEMBER}


@pytest.mark.parametrize("role", [Role.MEMBER, Role.READER])
async def test_others_decide_over_nobody(people: People, role: Role) -> None:
    await people.add("bob", Role.OWNER)
    ada = await people.add("ada", role)
    assert len((await people.users.list(ada)).items) == 2
    calls: list[Awaitable[object]] = [
        people.users.invite(ada, "eve", Role.READER),
        people.users.set_role(ada, "ada", DEFAULT_PROJECT, Role.OWNER),
        people.users.remove(ada, "bob", DEFAULT_PROJECT),
        people.users.disable(ada, "bob"),
        people.users.make_first_link(ada),
        people.sessions.list_all(ada),
        people.users.list_all(ada),
    ]
    for call in calls:
        assert await code_of(call) == "missing-scope"
    assert await roles(people) == {"ada": role, "bob": Role.OWNER}


async def test_nobody_makes_somebody_who_may_more(people: People) -> None:
    await people.add("bob", Role.OWNER)
    await people.add("ada", Role.READER)
    scopes = frozenset({Scope.USERS_WRITE, *(scope for scope in Scope if scope.endswith(":read"))})
    token = Caller(Identity("token:ci", DEFAULT_PROJECT, scopes), "req-9")
    for call in (
        people.users.invite(token, "eve", Role.MEMBER),
        people.users.set_role(token, "ada", DEFAULT_PROJECT, Role.OWNER),
        people.users.set_role(token, "bob", DEFAULT_PROJECT, Role.READER),
        people.users.remove(token, "bob", DEFAULT_PROJECT),
    ):
        with pytest.raises(Forbidden):
            await call
    await people.users.invite(token, "eve", Role.READER)
    await people.users.remove(token, "ada", DEFAULT_PROJECT)
    assert await roles(people) == {"bob": Role.OWNER, "eve": Role.READER}


async def test_the_last_owner_of_a_project_stays_but_for_an_administrator(people: People) -> None:
    bob = await people.add("bob", Role.OWNER)
    await people.add("ada")
    await people.users.invite(ROOT, "pending", Role.OWNER)  # who may never come
    assert await code_of(people.users.set_role(bob, "bob", DEFAULT_PROJECT, Role.MEMBER)) == "last-owner"
    assert await code_of(people.users.remove(bob, "bob", DEFAULT_PROJECT)) == "last-owner"
    await people.users.set_role(bob, "ada", DEFAULT_PROJECT, Role.OWNER)
    await people.users.set_role(bob, "bob", DEFAULT_PROJECT, Role.READER)
    ada = await people.caller("ada")
    assert await code_of(people.users.remove(ada, "ada", DEFAULT_PROJECT)) == "last-owner"
    await people.users.remove(ROOT, "ada", DEFAULT_PROJECT)
    assert await roles(people) == {"bob": Role.READER, "pending": Role.OWNER}


async def test_the_installations_owner_stays(people: People) -> None:
    owner = await people.owner()
    await people.add("bob", Role.OWNER)
    for caller in (owner, ROOT):
        assert await code_of(people.users.remove(caller, "owner", DEFAULT_PROJECT)) == "last-owner"
        assert await code_of(people.users.disable(caller, "owner")) == "last-owner"
        assert await code_of(people.users.set_role(caller, "owner", DEFAULT_PROJECT, Role.READER)) == "last-owner"
    await people.sign_in("owner")


async def test_who_belongs_to_no_project_is_removed(people: People) -> None:
    await people.add("ada")
    secret = (await people.sign_in("ada")).secret
    await people.users.set_role(ROOT, "ada", OTHER_PROJECT, Role.READER)
    await people.users.remove(ROOT, "ada", DEFAULT_PROJECT)
    assert (await people.sessions.of_secret(secret))[0].project == OTHER_PROJECT
    await people.users.remove(root_of(OTHER_PROJECT), "ada", OTHER_PROJECT)
    with pytest.raises(Unauthenticated):
        await people.sessions.of_secret(secret)
    with pytest.raises(Unauthenticated):
        await people.sign_in("ada")
    assert await people.store.accounts.find("ada") is None
    assert await code_of(people.users.remove(ROOT, "ada", DEFAULT_PROJECT)) == "unknown-user"
    await people.add("ada")  # the name is free again


async def test_a_project_takes_users_along_who_belong_to_no_other(people: People) -> None:
    await people.owner()
    await people.add("ada", project=OTHER_PROJECT)
    await people.add("bob", project=OTHER_PROJECT)
    await people.users.set_role(ROOT, "bob", DEFAULT_PROJECT, Role.READER)
    await people.store.projects.delete(OTHER_PROJECT)
    assert await people.store.accounts.find("ada") is None
    assert await roles(people) == {"bob": Role.READER, "owner": Role.OWNER}


async def test_who_is_disabled_is_out_until_enabled(people: People) -> None:
    await people.add("ada")
    secret = (await people.sign_in("ada")).secret
    _, link = await people.users.reset_password(ROOT, "ada")
    for _ in range(2):
        assert (await people.users.disable(ROOT, "ada")).disabled
    with pytest.raises(Unauthenticated):
        await people.sessions.of_secret(secret)
    assert await code_of(people.sign_in("ada")) == "wrong-credentials"
    assert await code_of(people.users.accept_invitation(link, OTHER_PASSWORD)) == "unknown-link"
    assert await code_of(people.users.reset_password(ROOT, "ada")) == "user-disabled"
    for _ in range(2):
        assert not (await people.users.enable(ROOT, "ada")).disabled
    with pytest.raises(Unauthenticated):
        await people.sessions.of_secret(secret)
    await people.sign_in("ada")
    assert await code_of(people.users.disable(ROOT, "nobody")) == "unknown-user"


async def test_a_forgotten_password(people: People) -> None:
    ada = await people.add("ada")
    secret, _ = await people.with_totp(ada)
    old = (await people.sign_in("ada", code=people.code(secret, 1))).secret
    _, link = await people.users.reset_password(ROOT, "ada")
    await people.sessions.of_secret(old)  # until the link is used
    await people.users.accept_invitation(link, OTHER_PASSWORD)
    with pytest.raises(Unauthenticated):
        await people.sessions.of_secret(old)
    assert await code_of(people.sign_in("ada", OTHER_PASSWORD)) == "code-needed"
    _, late = await people.users.reset_password(ROOT, "ada", without_totp=True)
    await people.sign_in("ada", OTHER_PASSWORD)
    people.clock.later(hours=24)
    assert await code_of(people.users.accept_invitation(late, PASSWORD)) == "unknown-link"


async def test_an_administrator_sees_everybody(people: People) -> None:
    await people.owner()
    await people.add("ada", project=OTHER_PROJECT)
    people.clock.later(seconds=1)
    await people.users.set_role(ROOT, " ADA ", DEFAULT_PROJECT, Role.READER)
    found = [
        (each.user.name, [(held.project, held.role) for held in each.roles])
        for each in (await people.users.list_all(ROOT)).items
    ]
    assert found == [
        ("ada", [(OTHER_PROJECT, Role.MEMBER), (DEFAULT_PROJECT, Role.READER)]),
        ("owner", [(DEFAULT_PROJECT, Role.OWNER)]),
    ]


async def test_what_nobody_can_be_called_is_nobody(people: People) -> None:
    for name in ("\x00", "\ud800", "", "a b"):
        assert await code_of(people.users.set_role(ROOT, name, DEFAULT_PROJECT, Role.READER)) == "unknown-user"
        assert await code_of(people.users.remove(ROOT, name, DEFAULT_PROJECT)) == "unknown-user"
        assert await code_of(people.users.disable(ROOT, name)) == "unknown-user"


async def test_what_others_are_not_told(people: People) -> None:
    eve = await people.add("eve", Role.OWNER, OTHER_PROJECT)
    await people.add("ada")
    told = []
    for name in ("ada", "nobody"):
        with pytest.raises(NotFound) as refused:
            await people.users.remove(eve, name, OTHER_PROJECT)
        told.append(str(refused.value).replace(name, "…"))
    assert told[0] == told[1]
