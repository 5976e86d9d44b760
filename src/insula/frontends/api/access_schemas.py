"""The shapes of keys, tokens, projects and the audit log; see :mod:`schemas`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from insula.control.actions.secret import PREFIX
from insula.control.actions.tokens import MAX_DAYS
from insula.domain.access import Scope, Token
from insula.frontends.api.schemas import Name, Wish


class AddKey(Wish, frozen=True):
    name: Name
    public_key: Annotated[str, Meta(min_length=1, max_length=16384, description="One line of an id_….pub file")]


class RenameKey(Wish, frozen=True):
    name: Name


class CreateToken(Wish, frozen=True):
    """A token of the caller's project; nobody can give scopes that they do not hold."""

    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=32)]
    expires_in_days: Annotated[float, Meta(gt=0, le=MAX_DAYS)] | None = None
    prefix: Annotated[str, Meta(max_length=20, pattern="^[a-z0-9_]{1,19}_$", description="Of its secret")] = PREFIX


class CreateProject(Wish, frozen=True):
    name: Name


class AuditQuery(Wish, frozen=True):
    """Which part of the log: `next_after` of one answer is `after` of the next request."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    after: Annotated[int, Meta(ge=0, le=2**53)] = 0


class NewTokenView(Struct, frozen=True):
    """A token and its secrets, which are shown this once: its own, and that of the key that signs in its name."""

    token: Token
    secret: str
    key_id: str
    key_secret: str


class IdentityView(Struct, frozen=True):
    """Who the caller is, in which project, with which scopes."""

    subject: str
    project: str
    scopes: list[Scope]
