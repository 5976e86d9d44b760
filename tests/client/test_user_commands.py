"""`insula user` as people type it, and the link that `insula service start` prints."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from insula.base.errors import Conflict, InsulaError, NotFound
from insula.cli.program import program
from insula.client import Client
from insula.domain.user import Role
from tests.private_service import PrivateService


def insula(*words: str) -> str:
    """What it prints on both streams. Raises its error."""
    done = CliRunner().invoke(program, words, standalone_mode=False)
    if isinstance(done.exception, InsulaError):
        raise done.exception
    assert done.exception is None, done.exception
    return done.output


def test_starting_the_service_shows_where_the_first_account_is_made(service: PrivateService, client: Client) -> None:
    link = re.escape(f"http://{service.listen}/panel/first?key=") + r"([\w-]{43})"
    first, second = (
        re.search(link, insula("service", "start")),
        re.fullmatch(link, insula("user", "first-link").strip()),
    )
    assert first is not None
    assert second is not None
    assert first[1] != second[1]
    assert json.loads(insula("user", "first-link", "--json"))["link"].startswith(f"http://{service.listen}/panel/first")


def test_users_from_the_command_line(service: PrivateService, client: Client) -> None:
    assert "There is no user" in insula("user", "list")
    printed = insula("user", "invite", "ada@example.org", "--role", "member")
    assert printed.startswith(f"http://{service.listen}/panel/invitation?key=")
    assert "Send this to ada@example.org" in printed
    assert [line.split()[:4] for line in insula("user", "list").splitlines()[1:]] == [
        ["ada@example.org", "member", "invited", "off"]
    ]
    assert insula("user", "set-role", "ada@example.org", "--role", "reader") == "ada@example.org is now reader\n"
    (member,) = client.users.list()
    assert (member.user.name, member.role, member.user.pending) == ("ada@example.org", Role.READER, True)

    assert insula("user", "list", "--all").splitlines()[1].split() == [
        "ada@example.org",
        "invited",
        "default:",
        "reader",
    ]

    insula("user", "disable", "ada@example.org")
    with pytest.raises(Conflict) as refused:
        insula("user", "reset-password", "ada@example.org")
    assert refused.value.code == "user-disabled"
    assert insula("user", "list").splitlines()[1].split()[2] == "disabled"
    insula("user", "enable", "ada@example.org")
    assert "/panel/invitation?key=" in insula("user", "reset-password", "ada@example.org", "--without-totp")

    assert "Nobody is signed in" in insula("user", "sessions")
    assert insula("user", "sessions", "ada@example.org", "--json") == "[]\n"
    with pytest.raises(NotFound):
        insula("user", "end", "ses_1")
    assert "is removed" in insula("user", "remove", "ada@example.org", "--yes")
    assert client.users.list() == []
