"""What users do with their own account: the password, and the second factor."""

from __future__ import annotations

import pytest

from insula.base.errors import Conflict, InsulaError, InvalidInput, RateLimited, Unauthenticated
from insula.control.actions.attempts import PER_NAME
from insula.control.actions.caller import Caller
from insula.domain.access import DEFAULT_PROJECT
from insula.domain.user import Role
from tests.unit.control.actions.people import OTHER_PASSWORD, OTHER_PROJECT, PASSWORD, ROOT, People


async def refused(call: object) -> str:
    with pytest.raises(InsulaError) as error:
        await call  # type: ignore[misc]  # a coroutine of any action
    return error.value.code


async def test_oneself(people: People) -> None:
    ada = await people.add("ada", Role.READER, OTHER_PROJECT)
    people.clock.later(seconds=1)
    await people.users.set_role(ROOT, "ada", DEFAULT_PROJECT, Role.OWNER)
    user = await people.users.me(ada)
    assert (user.name, user.owner, user.totp_enabled, user.disabled, user.pending) == ("ada", *[False] * 4)
    assert await people.users.projects_of(ada) == [(OTHER_PROJECT, Role.READER), (DEFAULT_PROJECT, Role.OWNER)]


async def test_the_installations_owner_has_all_projects(people: People) -> None:
    owner = await people.owner()
    assert await people.users.projects_of(owner) == [(DEFAULT_PROJECT, Role.OWNER), (OTHER_PROJECT, Role.OWNER)]
    assert (await people.users.me(owner)).owner


async def test_another_password_ends_all_sessions(people: People) -> None:
    ada = await people.add("ada")
    others = await people.sign_in("ada")
    assert await refused(people.users.change_password(ada, "wrong", OTHER_PASSWORD)) == "wrong-password"
    assert await refused(people.users.change_password(ada, PASSWORD, "ada")) == "weak-password"
    await people.sessions.of_secret(others.secret)
    await people.users.change_password(ada, PASSWORD, OTHER_PASSWORD)
    assert (await people.sessions.list(ada)).items == ()
    with pytest.raises(Unauthenticated):
        await people.sessions.of_secret(others.secret)
    with pytest.raises(Unauthenticated):
        await people.sign_in("ada")
    await people.sign_in("ada", OTHER_PASSWORD)
    assert await people.audited("account.change_password") == [
        ("user:ada", "ada", "refused: wrong-password"),
        ("user:ada", "ada", "refused: weak-password"),
        ("user:ada", "ada", "done"),
    ]
    told = await people.all_that_is_audited()
    assert PASSWORD not in told
    assert OTHER_PASSWORD not in told


async def test_whoever_finds_a_browser_signed_in_cannot_guess_the_password(people: People) -> None:
    ada = await people.add("ada")
    for _ in range(PER_NAME.free):
        assert await refused(people.users.change_password(ada, "wrong", OTHER_PASSWORD)) == "wrong-password"
    with pytest.raises(RateLimited):
        await people.users.change_password(ada, PASSWORD, OTHER_PASSWORD)
    with pytest.raises(RateLimited):
        await people.users.stop_totp(ada, PASSWORD)


async def test_a_second_factor_is_asked_for_once_it_was_shown(people: People) -> None:
    ada = await people.add("ada")
    assert await refused(people.users.confirm_totp(ada, "123456")) == "no-totp-offered"
    text, uri = await people.users.start_totp(ada)
    assert f"secret={text}" in uri
    await people.sign_in("ada")  # nothing is asked for yet
    assert await refused(people.users.confirm_totp(ada, "12345")) == "invalid-totp-code"
    secret, codes = await people.with_totp(ada)
    assert len(set(codes)) == 10
    assert (await people.users.me(ada)).totp_enabled
    people.clock.later(minutes=1)
    with pytest.raises(Unauthenticated):
        await people.sign_in("ada")
    await people.sign_in("ada", code=people.code(secret))
    told = await people.all_that_is_audited()
    assert not any(each in told for each in (text, *codes))


async def test_nothing_of_it_can_be_read_in_the_database(people: People) -> None:
    ada = await people.add("ada")
    secret, codes = await people.with_totp(ada)
    found = await people.store.accounts.find("ada")
    assert found is not None
    kept = f"{found.totp_secret} {found.totp_offered} {found.recovery_hashes} {found.password_hash}"
    assert not any(code in kept for code in (*codes, secret.hex(), PASSWORD))
    assert found.password_hash not in repr(found)
    assert found.totp_secret not in repr(found)


async def test_a_second_factor_is_not_replaced_but_switched_off_with_the_password(people: People) -> None:
    ada = await people.add("ada")
    await people.with_totp(ada)
    with pytest.raises(Conflict) as conflict:
        await people.users.start_totp(ada)
    assert conflict.value.code == "totp-enabled"
    with pytest.raises(InvalidInput):
        await people.users.stop_totp(ada, "wrong")
    await people.users.stop_totp(ada, PASSWORD)
    assert not (await people.users.me(ada)).totp_enabled
    await people.sign_in("ada")
    await people.with_totp(ada)


async def test_an_offer_that_was_replaced_is_not_taken(people: People) -> None:
    ada = await people.add("ada")
    await people.users.start_totp(ada)
    account = await people.store.accounts.find("ada")
    assert account is not None
    await people.users.start_totp(ada)
    assert not await people.store.accounts.take_totp(account.user.id, account.totp_offered, 1, ())
    assert not (await people.users.me(ada)).totp_enabled


async def test_an_account_that_was_removed_is_not_signed_in(people: People) -> None:
    ada: Caller = await people.add("ada")
    await people.users.remove(ROOT, "ada", DEFAULT_PROJECT)
    assert await refused(people.users.me(ada)) == "not-signed-in"
    assert await refused(people.users.change_password(ada, PASSWORD, OTHER_PASSWORD)) == "not-signed-in"
