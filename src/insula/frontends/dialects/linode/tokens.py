"""Personal access tokens: ours, with the words for scopes that are used there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from insula.base.clock import now_utc
from insula.base.errors import InvalidInput, Unsupported
from insula.domain.access import Scope, Token
from insula.domain.alias import Alias
from insula.domain.ids import Kind
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page, when
from insula.frontends.dialects.linode.records import in_path
from insula.frontends.dialects.records import check_text, fitting, name_of, naming, unknown

_ALL = "*"
_FOR_EVER = datetime(2999, 12, 31, tzinfo=UTC)
_SECONDS_A_DAY = 86400
# What each of their words lets somebody read and write here; what is not here has nothing behind it.
_SCOPES: Mapping[str, tuple[str, ...]] = {
    "account": ("keys", "operations"),
    "events": ("operations",),
    "firewall": ("firewalls",),
    "images": ("images", "snapshots"),
    "ips": ("networks",),
    "linodes": ("instances", "snapshots", "backups", "images", "keys", "networks", "operations"),
    "volumes": ("volumes",),
    "vpc": ("networks",),
}
_SHOWN_WITH = ("instances", "networks", "volumes", "firewalls")  # what is needed to show any of these


class _New(msgspec.Struct):
    label: str = ""
    scopes: str = _ALL
    expiry: str | None = None


def _scopes(text: str) -> list[str]:
    """Ours of a text like `linodes:read_write events:read_only`. Raises InvalidInput."""
    if text == _ALL:
        return [scope.value for scope in Scope if scope is not Scope.ADMIN]
    found: set[str] = set()
    for word in text.replace(",", " ").split():
        kind, _, access = word.partition(":")
        if kind not in _SCOPES or access not in ("read_only", "read_write", "*"):
            raise InvalidInput(
                "scopes cannot be had",
                why=f"{word[:40]!r} is none of {', '.join(_SCOPES)} with :read_only or :read_write",
                todo="Choose among them",
                fields={"scopes": "unknown"},
            )
        found |= {f"{one}:read" for one in (*_SCOPES[kind], *_SHOWN_WITH)}
        found |= {f"{one}:write" for one in _SCOPES[kind]} if access != "read_only" else set()
    return sorted(found & {scope.value for scope in Scope})


def _told(scopes: frozenset[Scope]) -> str:
    if Scope.ADMIN in scopes or len(scopes) >= len(Scope) - 1:
        return _ALL
    told = []
    for word, kinds in _SCOPES.items():
        held = {access for access in ("read", "write") if all(_holds(scopes, f"{kind}:{access}") for kind in kinds)}
        if held:
            told.append(f"{word}:{'read_write' if 'write' in held else 'read_only'}")
    return " ".join(told)


def _holds(scopes: frozenset[Scope], scope: str) -> bool:
    return scope in scopes or scope not in set(Scope) or scope.replace(":read", ":write") in scopes


def _view(token: Token, alias: Alias, secret: str) -> dict[str, Any]:
    return {
        "id": alias.number,
        "label": name_of(alias, token.name),
        "scopes": alias.facts.get("scopes") or _told(token.scopes),
        "created": when(token.created_at),
        "expiry": when(token.expires_at or _FOR_EVER),
        "token": secret,
    }


async def _there(ask: Ask) -> Sequence[Token]:
    return [one for one in (await ask.actions.tokens.list(ask.caller)).items if not one.revoked]


async def _find(ask: Ask) -> Token:
    record = await in_path(ask, "token", Kind.TOKEN)
    for one in await _there(ask):
        if one.id == record:
            return one
    raise unknown("token", ask.path["token"])


@DIALECT.operation("GET", "/profile/tokens", "profile.tokens-list")
async def list_tokens(ask: Ask) -> Answer:
    found = await _there(ask)
    aliases = await ask.actions.aliases.of(one.id for one in found)
    return page(ask, [_view(one, aliases[one.id], "") for one in found])


@DIALECT.operation("POST", "/profile/tokens", "profile.token-create")
async def create_token(ask: Ask) -> Answer:
    """The secret is shown this once."""
    wish = ask.read(_New)
    label = check_text(wish.label, "label", 100) if wish.label else "token"
    ours = fitting(label, {one.name for one in (await ask.actions.tokens.list(ask.caller)).items}, "token")
    made = await ask.actions.tokens.create(ask.caller, ours, _scopes(wish.scopes), _days(wish.expiry))
    await ask.actions.aliases.note(made.token.id, naming(label, ours) | {"scopes": wish.scopes})
    alias = (await ask.actions.aliases.of([made.token.id]))[made.token.id]
    return Answer(_view(made.token, alias, made.secret))


def _days(expiry: str | None) -> float | None:
    if expiry is None:
        return None
    try:
        end = datetime.fromisoformat(expiry)
    except ValueError as error:
        raise InvalidInput("expiry is no time", why=str(error), todo="Send 2026-11-28T12:00:00") from error
    left = (end.replace(tzinfo=end.tzinfo or UTC) - now_utc()).total_seconds() / _SECONDS_A_DAY
    if left <= 0:
        raise InvalidInput("expiry is over", why=f"It was {expiry}", todo="Choose a later one")
    return left


@DIALECT.operation("GET", "/profile/tokens/{token}", "profile.token-view")
async def get_token(ask: Ask) -> Answer:
    found = await _find(ask)
    return Answer(_view(found, (await ask.actions.aliases.of([found.id]))[found.id], ""))


@DIALECT.operation("PUT", "/profile/tokens/{token}", "profile.token-update")
async def update_token(ask: Ask) -> Answer:
    await _find(ask)
    raise Unsupported(
        "A token keeps its label and its scopes",
        why="Whoever holds it relies on them",
        todo="Make another one and revoke this",
    )


@DIALECT.operation("DELETE", "/profile/tokens/{token}", "profile.token-delete")
async def delete_token(ask: Ask) -> Answer:
    await ask.actions.tokens.revoke(ask.caller, (await _find(ask)).id)
    return nothing()
