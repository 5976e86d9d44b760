"""The shapes of users and their sessions; see :mod:`schemas`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from insula.domain.user import USER_NAME_RULE, Role, User
from insula.frontends.api.schemas import PageQuery, Wish

UserName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=63,
        pattern="^[A-Za-z0-9]([A-Za-z0-9._+@-]{0,61}[A-Za-z0-9])?$",
        description=USER_NAME_RULE,
    ),
]


class InviteUser(Wish, frozen=True):
    """Into the project of the request; nobody can give a role that may more than they."""

    name: UserName
    role: Role


class SetRole(Wish, frozen=True):
    role: Role


class ResetPassword(Wish, frozen=True):
    without_totp: Annotated[bool, Meta(description="Take the second factor away as well")] = False


class SessionQuery(PageQuery, frozen=True):
    user: Annotated[str, Meta(max_length=63, description="Of this user only")] = ""


class LinkView(Struct, frozen=True):
    """A user, and the link by which they set a password: a path on this service, which is shown this once."""

    user: User
    path: str


class FirstLinkView(Struct, frozen=True):
    """The link that makes the first account: a path on this service, which is shown this once."""

    path: str
