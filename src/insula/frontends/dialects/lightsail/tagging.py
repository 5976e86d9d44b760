"""Tags given to what is there, and taken from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from insula.base.errors import NotFound
from insula.control.actions.wishes import ChangeWish
from insula.domain.access import SshKey
from insula.domain.instance import Instance
from insula.domain.volume import Volume
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail import operations, tags
from insula.frontends.dialects.lightsail.dialect import New, answer, operation
from insula.frontends.dialects.lightsail.resource import (
    DISK,
    INSTANCE,
    KEY_PAIR,
    SNAPSHOT,
    Named,
    disks,
    instances,
    key_pairs,
    snapshots,
    where_of,
)
from insula.frontends.dialects.records import uuid_of


class _Which(New):
    resource_name: str
    resource_arn: str = ""


class _Tag(_Which, kw_only=True):
    tags: list[tags.Tag]


class _Untag(_Which, kw_only=True):
    tag_keys: list[str]


async def _find(ask: Ask, wanted: _Which) -> tuple[str, Named[Any]]:
    """With what it is. Among several of one name an ARN chooses, else the first. Raises NotFound."""
    for kind, there in ((INSTANCE, instances), (DISK, disks), (SNAPSHOT, snapshots), (KEY_PAIR, key_pairs)):
        for one in await there(ask):
            is_meant = not wanted.resource_arn or wanted.resource_arn.endswith(f":{kind}/{uuid_of(one.thing.id)}")
            if one.name == wanted.resource_name and is_meant:
                return kind, one
    raise NotFound(
        f"The resource does not exist: {wanted.resource_name[:80]}",
        why="Instances, disks, snapshots and key pairs carry tags, and none has this name",
        todo="Look at GetActiveNames",
        code="unknown-resource",
    )


@operation("TagResource")
async def tag_resource(ask: Ask) -> Answer:
    """A key that is there already gets the new value."""
    wish = ask.read(_Tag)
    kind, found = await _find(ask, wish)
    carried, known = _carried(found), found.alias.facts
    replaced = tags.with_key(carried, known, [tag.key for tag in wish.tags])
    words = [word for word in carried if word not in replaced]
    await _retag(ask, found, [*words, *tags.words(wish.tags)])
    facts = tags.no_facts(replaced) | tags.facts(wish.tags)
    await ask.actions.aliases.note(found.thing.id, facts)
    return await _done(ask, kind, found, "TagResource")


@operation("UntagResource")
async def untag_resource(ask: Ask) -> Answer:
    wish = ask.read(_Untag)
    kind, found = await _find(ask, wish)
    carried = _carried(found)
    gone = tags.with_key(carried, found.alias.facts, wish.tag_keys)
    await _retag(ask, found, [word for word in carried if word not in gone])
    await ask.actions.aliases.note(found.thing.id, tags.no_facts(gone))
    return await _done(ask, kind, found, "UntagResource")


def _carried(found: Named[Any]) -> Sequence[str]:
    thing = found.thing
    return tags.kept(found.alias.facts) if isinstance(thing, SshKey) else thing.tags


async def _retag(ask: Ask, found: Named[Any], words: Sequence[str]) -> None:
    """Raises Forbidden unless the caller may change it."""
    thing, wanted = found.thing, tuple(dict.fromkeys(words))
    if isinstance(thing, Instance):
        await ask.actions.instances.change(ask.caller, thing.id, ChangeWish(tags=wanted))
    elif isinstance(thing, Volume):
        await ask.actions.volumes.change(ask.caller, thing.id, wanted, None)
    elif isinstance(thing, SshKey):
        # Ours carry no tags, which are kept beside them; whoever may rename one may tag it.
        await ask.actions.keys.rename(ask.caller, thing.id, thing.name)
    else:
        await ask.actions.snapshots.change(ask.caller, thing.id, None, wanted, None)


async def _done(ask: Ask, kind: str, found: Named[Any], of: str) -> Answer:
    done = await operations.done(ask, kind, found.name, of=of, location=where_of(found.alias))
    return answer(operations=[done])
