"""Reads what networks' counters show into the records of traffic."""

from __future__ import annotations

from collections.abc import Iterable

from insula.base.clock import now_utc
from insula.base.errors import InsulaError, NotFound
from insula.base.log import get_logger
from insula.control.nodes.nodes import Nodes
from insula.control.store import Store
from insula.domain.instance import Instance
from insula.domain.project_network import space_id_of
from insula.domain.traffic import Counts, Reading
from insula.protocol.network import PortTraffic

_log = get_logger(__name__)


async def account(store: Store, nodes: Nodes, instances: Iterable[Instance]) -> None:
    """Note the traffic of these instances up to now. A node that does not answer is logged, and read the next time."""
    places: dict[tuple[str, str], list[Instance]] = {}
    for one in instances:
        if one.ports:
            places.setdefault((one.node, one.project), []).append(one)
    readings: list[Reading] = []
    for (node, project), there in places.items():
        try:
            found = await nodes.get(node).space_traffic(space_id_of(project))
        except NotFound:
            continue  # nobody is connected there
        except InsulaError as error:
            _log.warning("traffic cannot be read", node=node, project=project, error=str(error))
            continue
        for one in there:
            for port in one.ports:
                if port.id in found.ports:
                    counts = _counts(found.ports[port.id])
                    readings.append(Reading(project, one.id, port.id, found.epoch, counts))
    if readings:
        await store.traffic.note(readings, now_utc())


def _counts(port: PortTraffic) -> Counts:
    sent, received = port.sent, port.received
    return Counts(sent.byte_count, sent.packets, received.byte_count, received.packets)
