"""Signing in and out: what is told to whom, how long a session lasts, and what ends it."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta

import pytest
from argon2 import extract_parameters

from insula.base.errors import Forbidden, InsulaError, NotFound, RateLimited, Unauthenticated
from insula.control.actions.attempts import PER_ADDRESS, PER_NAME, Attempts
from insula.control.actions.caller import OWN_ACTIONS
from insula.domain.access import DEFAULT_PROJECT, Scope
from insula.domain.user import SCOPES_OF, Role
from tests.unit.control.actions.people import OTHER_PASSWORD, OTHER_PROJECT, PASSWORD, ROOT, People


async def code_of_refusal(people: People, name: str, password: str = PASSWORD, code: str = "") -> str:
    with pytest.raises(InsulaError) as refused:
        await people.sign_in(name, password, code)
    return refused.value.code


async def is_signed_in(people: People, secret: str) -> bool:
    try:
        await people.sessions.of_secret(secret)
    except Unauthenticated:
        return False
    return True


async def test_a_session_stands_for_its_user(people: People) -> None:
    await people.add("ada", Role.READER)
    made = await people.sessions.sign_in("  Ada ", PASSWORD, client="192.0.2.9", agent="Mozilla\x00/5.0" + "x" * 500)
    assert len(made.secret) == 43
    assert made.secret not in repr(made)
    identity, session = await people.sessions.of_secret(made.secret)
    assert (identity.subject, identity.project, identity.scopes) == ("user:ada", "default", SCOPES_OF[Role.READER])
    assert session == made.session
    assert (session.address, session.agent[:12], len(session.agent)) == ("192.0.2.9", "Mozilla/5.0x", 200)
    assert session.expires_at - session.created_at == timedelta(days=14)


async def test_each_sign_in_is_another_session(people: People) -> None:
    await people.add("ada")
    first, second = await people.sign_in("ada"), await people.sign_in("ada")
    assert first.secret != second.secret
    assert first.session.id != second.session.id
    await people.sessions.sign_out(first.secret)
    await people.sessions.sign_out(first.secret)
    assert not await is_signed_in(people, first.secret)
    assert await is_signed_in(people, second.secret)


@pytest.mark.parametrize("secret", ["", "x" * 43, "\ud800" * 43, "a" * 100_000])
async def test_other_text_is_no_session(people: People, secret: str) -> None:
    assert not await is_signed_in(people, secret)
    await people.sessions.sign_out(secret)


async def test_it_is_not_told_whether_there_is_such_a_user(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await people.owner()
    await people.add("ada")
    await people.add("eve")
    await people.users.disable(owner, "eve")
    await people.users.invite(owner, "pending", Role.READER)
    compared: list[str] = []
    verify = people.credentials.passwords._hasher.verify

    def watched(hashed: str, password: str) -> bool:
        compared.append(hashed)
        return verify(hashed, password)

    monkeypatch.setattr(people.credentials.passwords, "_hasher", type("Watched", (), {"verify": staticmethod(watched)}))
    told = set()
    for name, password in (
        ("ada", "wrong"),
        ("nobody", "wrong"),
        ("eve", PASSWORD),
        ("pending", ""),
        ("", ""),
        ("\x00", "\x00"),
        ("\ud800", "\ud800"),
        ("ada", ""),
    ):
        with pytest.raises(Unauthenticated) as refused:
            await people.sign_in(name, password)
        told.add(str(refused.value.to_dict()))
    assert len(told) == 1
    # One hash each; nobody's is as slow as a real one.
    assert len(compared) == 8
    assert extract_parameters(compared[1]).memory_cost == 19456


async def test_failed_sign_ins_are_audited_without_what_was_typed(people: People) -> None:
    await people.add("ada", project=OTHER_PROJECT)
    await code_of_refusal(people, "ada", "a-secret-typed-wrong")
    await code_of_refusal(people, "typed-into-the-wrong-field")
    await people.sign_in("ada")
    refused = "refused: wrong-credentials"
    assert (await people.audited("sessions.sign_in", OTHER_PROJECT))[-2:] == [
        ("user:ada", "192.0.2.7", refused),
        ("user:ada", "192.0.2.7", "done"),
    ]
    assert await people.audited("sessions.sign_in") == [("anonymous", "192.0.2.7", refused)]
    told = await people.all_that_is_audited()
    assert "typed" not in told
    assert PASSWORD not in told


async def test_guessing_a_password_gets_slower(people: People) -> None:
    await people.add("ada")
    for _ in range(PER_NAME.free):
        assert await code_of_refusal(people, "ada", "wrong") == "wrong-credentials"
    with pytest.raises(RateLimited) as refused:
        await people.sign_in("ada")  # the right one is not looked at either
    assert refused.value.code == "too-many-sign-ins"
    people.clock.later(seconds=refused.value.retry_after_s)
    await people.sign_in("ada")
    assert await code_of_refusal(people, "ada", "wrong") == "wrong-credentials"


async def test_names_that_nobody_has_get_slower_as_well(people: People) -> None:
    found = [await code_of_refusal(people, "nobody", "wrong") for _ in range(PER_NAME.free + 1)]
    assert found == ["wrong-credentials"] * PER_NAME.free + ["too-many-sign-ins"]


async def test_one_address_cannot_try_all_names(people: People) -> None:
    found = [await code_of_refusal(people, f"user{number}", "wrong") for number in range(PER_ADDRESS.free + 1)]
    assert found == ["wrong-credentials"] * PER_ADDRESS.free + ["too-many-sign-ins"]


@pytest.mark.parametrize("field", ["name", "password", "code", "client", "agent"])
async def test_whatever_is_typed_is_refused_in_words(people: People, field: str) -> None:
    secret, _ = await people.with_totp(await people.add("ada"))
    people.clock.later(minutes=5)
    for text in ("", "\x00", "\ud800", "x" * 100_000, "\u202e\u0301", "\U0001f511" * 99, "' OR 1=1 --", "²²²²²²"):
        given = {
            "name": "ada",
            "password": PASSWORD,
            "code": "1234567",
            "client": "192.0.2.1",
            "agent": "x",
            field: text,
        }
        people.credentials.attempts = Attempts(people.clock.seconds)
        with pytest.raises(Unauthenticated):
            await people.sessions.sign_in(**given)
    assert await people.store.audit.verify() is None
    await people.sign_in("ada", code=people.code(secret))


async def test_a_session_ends_when_it_is_not_used(people: People) -> None:
    await people.add("ada")
    made = await people.sign_in("ada")
    for _ in range(3):
        people.clock.later(hours=11, minutes=59)
        assert await is_signed_in(people, made.secret)
    people.clock.later(hours=12)
    assert not await is_signed_in(people, made.secret)


async def test_a_session_ends_after_two_weeks_in_any_case(people: People) -> None:
    ada = await people.add("ada")
    made = await people.sign_in("ada")
    for _ in range(14 * 4 - 1):
        people.clock.later(hours=6)
        assert await is_signed_in(people, made.secret)
    people.clock.later(hours=6)
    assert not await is_signed_in(people, made.secret)
    assert (await people.sessions.list(ada)).items == ()
    await people.sign_in("ada")
    assert len(await people.store.sessions.list()) == 1  # what has ended is not kept


async def test_a_use_is_noted_once_a_minute(people: People) -> None:
    await people.add("ada")
    made = await people.sign_in("ada")
    people.clock.later(seconds=60)
    await people.sessions.of_secret(made.secret)
    assert (await people.sessions.of_secret(made.secret))[1].last_seen_at == made.session.created_at
    people.clock.later(seconds=1)
    await people.sessions.of_secret(made.secret)
    assert (await people.sessions.of_secret(made.secret))[1].last_seen_at == people.clock.now


async def test_a_project_is_ones_own_or_unknown(people: People) -> None:
    await people.add("ada", Role.READER, OTHER_PROJECT)
    people.clock.later(seconds=1)
    await people.users.set_role(ROOT, "ada", DEFAULT_PROJECT, Role.MEMBER)
    secret = (await people.sign_in("ada")).secret
    first, _ = await people.sessions.of_secret(secret)
    assert (first.project, first.scopes) == (OTHER_PROJECT, SCOPES_OF[Role.READER])
    chosen, _ = await people.sessions.of_secret(secret, DEFAULT_PROJECT)
    assert (chosen.project, chosen.scopes) == (DEFAULT_PROJECT, SCOPES_OF[Role.MEMBER])
    await people.users.remove(ROOT, "ada", DEFAULT_PROJECT)
    told = []
    for project in (DEFAULT_PROJECT, "nonesuch"):
        with pytest.raises(NotFound) as refused:
            await people.sessions.of_secret(secret, project)
        assert refused.value.code == "unknown-project"
        told.append(str(refused.value).replace(project, "…"))
    assert told[0] == told[1]


async def test_the_installations_owner_may_everything_everywhere(people: People) -> None:
    await people.owner()
    secret = (await people.sign_in("owner")).secret
    for project in ("", OTHER_PROJECT):
        identity, _ = await people.sessions.of_secret(secret, project)
        assert (identity.project, identity.scopes) == (project or DEFAULT_PROJECT, frozenset({Scope.ADMIN}))
    with pytest.raises(NotFound):
        await people.sessions.of_secret(secret, "nonesuch")


async def test_a_role_that_changes_counts_at_once(people: People) -> None:
    await people.add("ada")
    secret = (await people.sign_in("ada")).secret
    await people.users.set_role(ROOT, "ada", DEFAULT_PROJECT, Role.READER)
    assert (await people.sessions.of_secret(secret))[0].scopes == SCOPES_OF[Role.READER]


async def test_ones_sessions_are_listed_and_ended(people: People) -> None:
    ada, bob = await people.add("ada"), await people.add("bob")
    people.clock.later(minutes=5)
    newest = await people.sign_in("ada")
    mine = (await people.sessions.list(ada)).items
    assert [session.user for session in mine] == ["ada", "ada"]
    assert mine[0] == newest.session
    with pytest.raises(NotFound) as refused:
        await people.sessions.end(bob, newest.session.id)
    assert refused.value.code == "unknown-session"
    await people.sessions.end(ada, newest.session.id)
    assert not await is_signed_in(people, newest.secret)
    assert {each.user for each in (await people.sessions.list_all(ROOT)).items} == {"ada", "bob"}
    (bobs,) = (await people.sessions.list_all(ROOT, "bob")).items
    await people.sessions.end_any(ROOT, bobs.id)
    assert (await people.sessions.list(bob)).items == ()


async def test_signing_out_everywhere(people: People) -> None:
    ada = await people.add("ada")
    await people.add("bob")
    mine = [await people.sign_in("ada") for _ in range(3)]
    others = await people.sign_in("bob")
    await people.sessions.sign_out_everywhere(ada)
    assert not any([await is_signed_in(people, each.secret) for each in mine])
    assert await is_signed_in(people, others.secret)
    assert await people.audited("account.sign_out_everywhere") == [("user:ada", "ada", "done")]


async def test_a_second_factor(people: People) -> None:
    ada = await people.add("ada")
    secret, _ = await people.with_totp(ada)
    people.clock.later(minutes=5)
    assert await code_of_refusal(people, "ada") == "code-needed"
    assert await code_of_refusal(people, "ada", OTHER_PASSWORD, people.code(secret)) == "wrong-credentials"
    assert await code_of_refusal(people, "ada", PASSWORD, people.code(secret, 2)) == "wrong-code"
    code = people.code(secret)
    await people.sign_in("ada", PASSWORD, code)
    assert await code_of_refusal(people, "ada", PASSWORD, code) == "wrong-code"
    assert await code_of_refusal(people, "ada", PASSWORD, people.code(secret, -1)) == "wrong-code"
    await people.sign_in("ada", PASSWORD, people.code(secret, 1))


async def test_the_code_that_switched_it_on_is_used_up(people: People) -> None:
    secret, _ = await people.with_totp(await people.add("ada"))
    assert await code_of_refusal(people, "ada", PASSWORD, people.code(secret)) == "wrong-code"


async def test_guessing_codes_gets_slower_and_being_asked_for_one_does_not(people: People) -> None:
    secret, _ = await people.with_totp(await people.add("ada"))
    people.clock.later(minutes=5)
    for _ in range(20):
        assert await code_of_refusal(people, "ada") == "code-needed"
    wrong = str((int(people.code(secret)) + 1) % 1_000_000).zfill(6)
    assert wrong not in {people.code(secret, step) for step in (-1, 0, 1)}
    found = [await code_of_refusal(people, "ada", PASSWORD, wrong) for _ in range(PER_NAME.free + 1)]
    assert found == ["wrong-code"] * PER_NAME.free + ["too-many-sign-ins"]


async def test_a_recovery_code_is_good_once(people: People) -> None:
    _, codes = await people.with_totp(await people.add("ada"))
    await people.sign_in("ada", PASSWORD, codes[3].upper().replace("-", " "))
    assert await code_of_refusal(people, "ada", PASSWORD, codes[3]) == "wrong-code"
    await people.sign_in("ada", PASSWORD, codes[4])
    assert await code_of_refusal(people, "ada", PASSWORD, "aaaa-aaaa-aaaa-aaaa") == "wrong-code"


async def test_who_is_no_user_has_no_account(people: People) -> None:
    calls: list[Awaitable[object]] = []
    calls += [people.sessions.list(ROOT), people.sessions.end(ROOT, "ses_1"), people.sessions.sign_out_everywhere(ROOT)]
    calls += [people.users.me(ROOT), people.users.projects_of(ROOT), people.users.change_password(ROOT, "a", "b")]
    calls += [people.users.start_totp(ROOT), people.users.confirm_totp(ROOT, "1"), people.users.stop_totp(ROOT, "a")]
    assert len(calls) == len(OWN_ACTIONS)
    for call in calls:
        with pytest.raises(Forbidden) as refused:
            await call
        assert refused.value.code == "not-a-user"
