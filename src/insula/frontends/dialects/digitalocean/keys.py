"""SSH keys, known by number or by the MD5 fingerprint."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from insula.base.errors import Conflict, InvalidInput, NotFound
from insula.domain.access import SshKey
from insula.domain.alias import Alias
from insula.domain.ids import Kind
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part
from insula.frontends.dialects.records import check_text, fitting, name_of, naming, numbered, unknown


class _New(msgspec.Struct):
    name: str
    public_key: str


class _Change(msgspec.Struct):
    name: str


def fingerprint_of(key: SshKey) -> str:
    """In hexadecimal pairs, as `3b:16:…`. MD5 is how they know a key, and protects nothing."""
    digest = hashlib.md5(base64.b64decode(key.public_key.split()[1]), usedforsecurity=False).hexdigest()
    return ":".join(digest[place : place + 2] for place in range(0, 32, 2))


def _view(key: SshKey, alias: Alias) -> dict[str, Any]:
    return {
        "id": alias.number,
        "fingerprint": fingerprint_of(key),
        "public_key": key.public_key,
        "name": name_of(alias, key.name),
    }


async def find(ask: Ask, text: str) -> SshKey:
    """By number or fingerprint. Raises NotFound."""
    if ":" not in text:
        return await ask.actions.keys.show(ask.caller, await numbered(ask, text, Kind.KEY))
    for key in (await ask.actions.keys.list(ask.caller)).items:
        if fingerprint_of(key) == text.lower():
            return key
    raise unknown("key", text)


async def names_of(ask: Ask, wanted: Sequence[int | str]) -> tuple[str, ...]:
    """Our ids of keys that a droplet shall have. Raises InvalidInput."""
    try:
        return tuple([(await find(ask, str(text))).id for text in wanted])
    except NotFound as error:
        raise InvalidInput(
            "ssh_keys names a key that is not there",
            why=error.why,
            todo="Name keys by their ids or fingerprints",
            fields={"ssh_keys": "unknown key"},
        ) from error


async def _answer(ask: Ask, key: SshKey, status: int = 200) -> Answer:
    alias = (await ask.actions.aliases.of([key.id]))[key.id]
    return Answer({"ssh_key": _view(key, alias)}, status)


@DIALECT.operation("GET", "/v2/account/keys", "sshKeys_list")
async def list_keys(ask: Ask) -> Answer:
    found = sorted((await ask.actions.keys.list(ask.caller)).items, key=lambda key: key.id)
    aliases = await ask.actions.aliases.of(key.id for key in found)
    return page(ask, "ssh_keys", [_view(key, aliases[key.id]) for key in part(ask, found)], len(found))


@DIALECT.operation("POST", "/v2/account/keys", "sshKeys_create")
async def create_key(ask: Ask) -> Answer:
    wish = ask.read(_New)
    check_text(wish.name, "name")
    taken = {key.name for key in (await ask.actions.keys.list(ask.caller)).items}
    ours = fitting(wish.name, taken, "key")
    try:
        key = await ask.actions.keys.add(ask.caller, ours, wish.public_key)
    except Conflict as error:
        if error.code != "key-exists":
            raise
        raise InvalidInput("SSH Key is already in use on your account", why=error.why, todo=error.todo) from error
    await ask.actions.aliases.note(key.id, naming(wish.name, ours))
    return await _answer(ask, key, 201)


@DIALECT.operation("GET", "/v2/account/keys/{key}", "sshKeys_get")
async def get_key(ask: Ask) -> Answer:
    return await _answer(ask, await find(ask, ask.path["key"]))


@DIALECT.operation("PUT", "/v2/account/keys/{key}", "sshKeys_update")
async def update_key(ask: Ask) -> Answer:
    key, wish = await find(ask, ask.path["key"]), ask.read(_Change)
    check_text(wish.name, "name")
    taken = {one.name for one in (await ask.actions.keys.list(ask.caller)).items} - {key.name}
    ours = fitting(wish.name, taken, "key")
    changed = await ask.actions.keys.rename(ask.caller, key.id, ours)
    await ask.actions.aliases.note(key.id, naming(wish.name, ours))
    return await _answer(ask, changed)


@DIALECT.operation("DELETE", "/v2/account/keys/{key}", "sshKeys_delete")
async def delete_key(ask: Ask) -> Answer:
    await ask.actions.keys.delete(ask.caller, (await find(ask, ask.path["key"])).id)
    return Answer(status=204)
