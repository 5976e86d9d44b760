"""SSH keys of the profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from insula.base.errors import Conflict, InvalidInput
from insula.domain.access import SshKey
from insula.domain.alias import Alias
from insula.domain.ids import Kind
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.account import username
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page, when
from insula.frontends.dialects.linode.records import in_path
from insula.frontends.dialects.records import check_text, fitting, name_of, naming

_MOST_CHARS = 64


class _New(msgspec.Struct):
    label: str
    ssh_key: str


class _Change(msgspec.Struct):
    label: str


def _view(key: SshKey, alias: Alias) -> dict[str, Any]:
    return {
        "id": alias.number,
        "label": name_of(alias, key.name),
        "ssh_key": key.public_key,
        "created": when(key.created_at),
    }


async def _views(ask: Ask, keys: Sequence[SshKey]) -> list[dict[str, Any]]:
    aliases = await ask.actions.aliases.of(key.id for key in keys)
    return [_view(key, aliases[key.id]) for key in keys]


async def of_users(ask: Ask, names: Sequence[str]) -> tuple[str, ...]:
    """The keys of users, of whom there is one here. Raises InvalidInput."""
    if unknown := [name for name in names if name != username(ask)]:
        raise InvalidInput(
            "authorized_users names somebody who is not there",
            why=f"There is {username(ask)}, and no {unknown[0][:40]}",
            todo="Look at /account/users",
            fields={"authorized_users": "unknown user"},
        )
    return tuple(key.id for key in (await ask.actions.keys.list(ask.caller)).items) if names else ()


async def _fit(ask: Ask, label: str, own: str = "") -> str:
    check_text(label, "label", _MOST_CHARS)
    taken = {key.name for key in (await ask.actions.keys.list(ask.caller)).items}
    return fitting(label, taken - {own}, "key")


@DIALECT.operation("GET", "/profile/sshkeys", "sshkeys.list")
async def list_keys(ask: Ask) -> Answer:
    found = sorted((await ask.actions.keys.list(ask.caller)).items, key=lambda key: key.id)
    return page(ask, await _views(ask, found))


@DIALECT.operation("POST", "/profile/sshkeys", "sshkeys.create")
async def create_key(ask: Ask) -> Answer:
    wish = ask.read(_New)
    ours = await _fit(ask, wish.label)
    try:
        key = await ask.actions.keys.add(ask.caller, ours, wish.ssh_key)
    except Conflict as error:
        raise InvalidInput(
            error.what, why=error.why, todo=error.todo, fields={"ssh_key": "is there already"}
        ) from error
    except InvalidInput as error:
        raise InvalidInput(error.what, why=error.why, todo=error.todo, fields={"ssh_key": "is no key"}) from error
    await ask.actions.aliases.note(key.id, naming(wish.label, ours))
    return Answer((await _views(ask, [key]))[0])


@DIALECT.operation("GET", "/profile/sshkeys/{key}", "sshkeys.view")
async def get_key(ask: Ask) -> Answer:
    key = await ask.actions.keys.show(ask.caller, await in_path(ask, "key", Kind.KEY))
    return Answer((await _views(ask, [key]))[0])


@DIALECT.operation("PUT", "/profile/sshkeys/{key}", "sshkeys.update")
async def update_key(ask: Ask) -> Answer:
    key = await ask.actions.keys.show(ask.caller, await in_path(ask, "key", Kind.KEY))
    wish = ask.read(_Change)
    ours = await _fit(ask, wish.label, key.name)
    changed = await ask.actions.keys.rename(ask.caller, key.id, ours)
    await ask.actions.aliases.note(key.id, naming(wish.label, ours))
    return Answer((await _views(ask, [changed]))[0])


@DIALECT.operation("DELETE", "/profile/sshkeys/{key}", "sshkeys.delete")
async def delete_key(ask: Ask) -> Answer:
    await ask.actions.keys.delete(ask.caller, await in_path(ask, "key", Kind.KEY))
    return nothing()
