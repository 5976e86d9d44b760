"""Finding what a request is about, by their ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from insula.base.errors import InvalidInput, NotFound
from insula.control.actions import InstanceFilter
from insula.domain.ids import Kind
from insula.domain.instance import Instance, InstanceState
from insula.domain.volume import Volume
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.records import ALL, numbered, of_uuid, unknown

ANY = InstanceFilter()


async def droplets(ask: Ask) -> Sequence[Instance]:
    """All of the project; what is being deleted is gone already."""
    found = (await ask.actions.instances.list(ask.caller, limit=ALL)).items
    return [one for one in found if one.state is not InstanceState.DELETING]


async def droplet(ask: Ask, number: str) -> Instance:
    """Raises NotFound."""
    found = await ask.actions.instances.show(ask.caller, await numbered(ask, number, Kind.INSTANCE))
    if found.state is InstanceState.DELETING:
        raise unknown("droplet", number)
    return found


async def droplet_of(ask: Ask) -> Instance:
    """The one in the path."""
    return await droplet(ask, ask.path["droplet_id"])


async def named_droplets(ask: Ask, wanted: Iterable[int], field: str) -> tuple[Instance, ...]:
    """Those that a body names. Raises InvalidInput."""
    try:
        return tuple([await droplet(ask, str(number)) for number in wanted])
    except NotFound as error:
        raise InvalidInput(
            f"{field} names a droplet that is not there",
            why=error.why,
            todo="Name droplets by their ids",
            fields={field: "unknown droplet"},
        ) from error


async def volume(ask: Ask, uuid: str) -> Volume:
    """Raises NotFound."""
    return await ask.actions.volumes.show(ask.caller, of_uuid(uuid, Kind.VOLUME))
