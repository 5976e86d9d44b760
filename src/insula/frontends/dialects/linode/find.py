"""Finding what a request is about, by their ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from insula.base.errors import InvalidInput, NotFound
from insula.domain.ids import Kind
from insula.domain.instance import Instance, InstanceState
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.records import ALL, numbered, unknown


async def linodes(ask: Ask) -> Sequence[Instance]:
    """All of the project; what is being deleted is gone already."""
    found = (await ask.actions.instances.list(ask.caller, limit=ALL)).items
    return [one for one in found if one.state is not InstanceState.DELETING]


async def linode(ask: Ask, number: str) -> Instance:
    """Raises NotFound."""
    found = await ask.actions.instances.show(ask.caller, await numbered(ask, number, Kind.INSTANCE))
    if found.state is InstanceState.DELETING:
        raise unknown("Linode", number)
    return found


async def linode_of(ask: Ask) -> Instance:
    """The one in the path."""
    return await linode(ask, ask.path["linode"])


async def named(ask: Ask, wanted: Iterable[int], field: str) -> tuple[Instance, ...]:
    """Those that a body names. Raises InvalidInput."""
    try:
        return tuple([await linode(ask, str(number)) for number in wanted])
    except NotFound as error:
        raise InvalidInput(
            f"{field} names a Linode that is not there",
            why=error.why,
            todo="Look at /linode/instances",
            fields={field: "unknown"},
        ) from error
