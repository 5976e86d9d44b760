"""What a role may, word for word, and what users may be called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.base.errors import InvalidInput
from insula.domain.access import Identity, Scope
from insula.domain.user import SCOPES_OF, Role, check_user_name, subject_of, user_of

READING = {
    *("instances:read", "images:read", "volumes:read", "snapshots:read", "backups:read", "networks:read"),
    *("firewalls:read", "keys:read", "operations:read", "host:read", "audit:read", "users:read"),
}
DOING = {
    *("instances:write", "instances:exec", "images:write", "volumes:write", "snapshots:write", "backups:write"),
    *("backups:files", "networks:write", "firewalls:write", "keys:write", "operations:write"),
}
DECIDING = {"tokens:write", "users:write", "backups:key"}


def test_what_a_role_may() -> None:
    assert SCOPES_OF[Role.READER] == READING
    assert SCOPES_OF[Role.MEMBER] == READING | DOING
    assert SCOPES_OF[Role.OWNER] == READING | DOING | DECIDING


def test_what_no_role_may_is_for_the_installations_owner() -> None:
    assert set(Scope) - SCOPES_OF[Role.OWNER] == {Scope.HOST_WRITE, Scope.ADMIN}


@pytest.mark.parametrize("scope", Scope)
def test_who_may_more_may_all_of_it(scope: Scope) -> None:
    reader, member, owner = (Identity("user:ada", "default", SCOPES_OF[role]) for role in reversed(Role))
    assert not reader.may(scope) or member.may(scope)
    assert not member.may(scope) or owner.may(scope)
    assert not reader.may(scope) or scope.endswith(":read")


@pytest.mark.parametrize("name", ["ada", "a", "ada@example.org", "ada.b+c@example.org", "Ada", " ada ", "0", "a" * 63])
def test_names(name: str) -> None:
    assert check_user_name(name) == name.strip().lower()


@pytest.mark.parametrize("name", ["", " ", "@ada", "ada@", "a b", "a/b", "ada\n.b", "é", "a" * 64, "<ada>", "a\x00b"])
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_user_name(name)
    assert refused.value.code == "invalid-name"


@given(st.text())
def test_a_subject_is_a_user_or_somebody_else(text: str) -> None:
    assert user_of(subject_of(text)) == text
    assert user_of(f"token:{text}") == user_of(f"local:{text}") == ""
