"""Key pairs: public keys of ours. A private one is told once, when it is made, and kept nowhere."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from insula.base.errors import Conflict
from insula.domain.access import SshKey
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail import operations, regions, tags
from insula.frontends.dialects.lightsail.dialect import New, answer, operation, page, when
from insula.frontends.dialects.lightsail.resource import KEY_PAIR, Named, check_free, head, key_pair, key_pairs
from insula.frontends.dialects.records import fitting, naming, under_a_name

DEFAULT = "LightsailDefaultKeyPair"
_BITS, _EXPONENT = 2048, 65537


class _Which(New):
    key_pair_name: str


class _New(_Which):
    tags: tuple[tags.Tag, ...] = ()


class _Import(_Which):
    public_key_base64: str


class _Delete(_Which):
    expected_fingerprint: str = ""


class _Listing(New):
    include_default_key_pair: bool = False


async def public_key(ask: Ask, name: str) -> str:
    """What an instance gets: the key of this name, or the project's own. Raises NotFound."""
    if name in {"", DEFAULT}:
        return ask.actions.keys.public_key_of_project(ask.caller)
    return (await key_pair(ask, name)).thing.id


def _view(found: Named[SshKey]) -> dict[str, Any]:
    location = _location(found)
    return head(KEY_PAIR, found, location, found.thing.created_at) | {
        "tags": tags.views(tags.kept(found.alias.facts), found.alias.facts),
        "fingerprint": found.thing.fingerprint,
    }


def _location(found: Named[SshKey]) -> dict[str, str]:
    return regions.in_region(found.alias.facts.get("region", ""))


@operation("GetKeyPairs")
async def get_key_pairs(ask: Ask) -> Answer:
    wish = ask.read(_Listing)
    found = [one for one in await key_pairs(ask) if one.name != DEFAULT or wish.include_default_key_pair]
    shown, more = page(ask, sorted(found, key=lambda one: one.thing.id), lambda one: one.thing.id)
    return answer(keyPairs=[_view(one) for one in shown], **more)


@operation("GetKeyPair")
async def get_key_pair(ask: Ask) -> Answer:
    return answer(keyPair=_view(await key_pair(ask, ask.read(_Which).key_pair_name)))


@operation("CreateKeyPair")
async def create_key_pair(ask: Ask) -> Answer:
    wish = ask.read(_New)
    check_free([wish.key_pair_name], await key_pairs(ask))
    tags.words(wish.tags)
    public, private = await asyncio.to_thread(_made)
    found = await _add(ask, wish.key_pair_name, public, wish.tags)
    done = await _done(ask, found, "CreateKeyPair")
    return answer(keyPair=_view(found), publicKeyBase64=public, privateKeyBase64=private, operation=done)


@operation("ImportKeyPair")
async def import_key_pair(ask: Ask) -> Answer:
    """The key is sent as it stands in a file, or that in base 64."""
    wish = ask.read(_Import)
    check_free([wish.key_pair_name], await key_pairs(ask))
    found = await _add(ask, wish.key_pair_name, _plain(wish.public_key_base64), ())
    return answer(operation=await _done(ask, found, "ImportKeyPair"))


@operation("DeleteKeyPair")
async def delete_key_pair(ask: Ask) -> Answer:
    wish = ask.read(_Delete)
    found = await key_pair(ask, wish.key_pair_name)
    if wish.expected_fingerprint not in {"", found.thing.fingerprint}:
        raise Conflict(
            f"The key pair {found.name} is another one",
            why=f"Its fingerprint is {found.thing.fingerprint}",
            todo="Look at GetKeyPair",
        )
    await ask.actions.keys.delete(ask.caller, found.thing.id)
    return answer(operation=await _done(ask, found, "DeleteKeyPair"))


@operation("DownloadDefaultKeyPair")
async def download_default_key_pair(ask: Ask) -> Answer:
    """The project's own, which instances get that are created without the name of one."""
    pair = await ask.actions.keys.key_of_project(ask.caller)
    known = next((one for one in await key_pairs(ask) if one.name == DEFAULT), None)
    found = known or await _add(ask, DEFAULT, pair.public_key, ())
    at = when(found.thing.created_at)
    return answer(publicKeyBase64=pair.public_key, privateKeyBase64=pair.private_key, createdAt=at)


async def _add(ask: Ask, name: str, public: str, wanted: Sequence[tags.Tag]) -> Named[SshKey]:
    taken = {key.name for key in (await ask.actions.keys.list(ask.caller)).items}
    ours, key = await under_a_name(
        fitting(name, taken, "key"), lambda ours: ask.actions.keys.add(ask.caller, ours, public)
    )
    facts = naming(name, ours) | {"region": regions.asked(ask)} | tags.facts(wanted)
    await ask.actions.aliases.note(key.id, facts)
    return Named(key, (await ask.actions.aliases.of([key.id]))[key.id], name)


async def _done(ask: Ask, found: Named[SshKey], of: str) -> dict[str, Any]:
    return await operations.done(ask, KEY_PAIR, found.name, of=of, location=_location(found))


def _made() -> tuple[str, str]:
    """Both halves of a new key, as theirs are: RSA, the private one in PEM."""
    key = rsa.generate_private_key(_EXPONENT, _BITS)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    openssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(*openssh).decode(), private.decode()


def _plain(text: str) -> str:
    if " " in text.strip():
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except (ValueError, binascii.Error):
        return text
