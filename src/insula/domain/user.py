"""Users: who they are, what they may in which project, and where they are signed in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from insula.base.errors import InvalidInput
from insula.domain.access import Scope

_SUBJECT = "user:"
_NAME = re.compile(r"[a-z0-9]([a-z0-9._+@-]{0,61}[a-z0-9])?")
USER_NAME_RULE = "1 to 63 characters: letters, digits and . _ + @ -, a letter or digit first and last"


class Role(StrEnum):
    """What a user is to a project."""

    OWNER = "owner"  # does everything in it, and decides who else may
    MEMBER = "member"  # does everything with what is in it
    READER = "reader"  # looks only


class LinkKind(StrEnum):
    """What a one-time link is for."""

    FIRST = "first"  # makes the installation's owner
    INVITATION = "invitation"  # sets the first password of somebody who was invited
    RESET = "reset"  # sets another password


_READING = frozenset(scope for scope in Scope if scope.endswith(":read"))
_DECIDING = frozenset({Scope.TOKENS_WRITE, Scope.USERS_WRITE, Scope.BACKUPS_KEY})
# What is the host's, and so all projects', is for the installation's owner alone.
_DOING = frozenset(Scope) - _READING - _DECIDING - {Scope.HOST_WRITE, Scope.ADMIN}

SCOPES_OF: Mapping[Role, frozenset[Scope]] = {
    Role.READER: _READING,
    Role.MEMBER: _READING | _DOING,
    Role.OWNER: _READING | _DOING | _DECIDING,
}


@dataclass(frozen=True)
class User:
    """A person's account; what proves that it is them is kept apart."""

    id: str
    name: str
    created_at: datetime
    owner: bool  # of the whole installation: its first account, which may do everything
    totp_enabled: bool
    disabled: bool
    pending: bool  # invited, and without a password so far


@dataclass(frozen=True)
class Membership:
    """A user's role in a project."""

    project: str
    role: Role
    since: datetime


@dataclass(frozen=True)
class Member:
    """A user as a project sees them."""

    user: User
    role: Role


@dataclass(frozen=True)
class UserWithRoles:
    """A user as an administrator sees them, the oldest role first."""

    user: User
    roles: tuple[Membership, ...]


@dataclass(frozen=True)
class Session:
    """A browser in which a user is signed in. It ends at `expires_at`, or when it is not used for long before."""

    id: str
    user: str  # the name
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    agent: str
    address: str


def check_user_name(text: str, field: str = "name") -> str:
    """A user's name, which may be an address for e-mail, in lower case. Raises :class:`InvalidInput`."""
    name = known_name(text)
    if not name:
        raise InvalidInput(
            f"{text[:80]!r} cannot be a user's name",
            why=f"It has {USER_NAME_RULE}",
            todo="Choose a name like ada, or an address like ada@example.org",
            code="invalid-name",
            fields={field: USER_NAME_RULE},
        )
    return name


def known_name(text: str) -> str:
    """A name as it is kept, of what somebody typed; empty for what cannot be anybody's."""
    name = text.strip().lower()
    return name if _NAME.fullmatch(name) else ""


def subject_of(name: str) -> str:
    """What a user is called where it says who did something."""
    return _SUBJECT + name


def user_of(subject: str) -> str:
    """The name of the user that a subject is, empty for everybody else."""
    return subject.removeprefix(_SUBJECT) if subject.startswith(_SUBJECT) else ""
