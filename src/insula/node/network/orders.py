"""The node's own copy of what a space shall be, and of what was chosen for it here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from insula.base.files import write_atomic
from insula.base.log import get_logger
from insula.domain.instance import PortForward
from insula.domain.network import check, sharing
from insula.protocol.network import SpaceOrder, Way

# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(SpaceOrder)

_log = get_logger(__name__)

_ORDER, _NUMBER = "order.json", "transit"


def checked(
    order: SpaceOrder, before: SpaceOrder | None, require_free: Callable[[Iterable[PortForward]], None]
) -> SpaceOrder:
    """The order, sharing what it can with the one before. `require_free` raises for ports that are not. Blocking.

    Raises InvalidInput for what contradicts itself, and Conflict where a new forward's port is taken.
    """
    if before is not None:
        order = replace(order, space=sharing(order.space, before.space))
    check(order.space, before.space if before is not None else None)
    if order.way is not Way.NONE:
        held = {_gate(item.forward) for item in before.space.forwards} if before is not None else set()
        require_free(item.forward for item in order.space.forwards if _gate(item.forward) not in held)
    return order


def _gate(forward: PortForward) -> tuple[str, str, int]:
    return (forward.protocol.value, forward.host_address, forward.host_port)


def load_order(folder: Path) -> SpaceOrder | None:
    """What was saved last, or None; a damaged one is logged and counts as none. Blocking."""
    try:
        return _DECODER.decode((folder / _ORDER).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        _log.error("an order of a space is damaged", path=str(folder / _ORDER), problem=str(error))
        return None


def save_order(folder: Path, order: SpaceOrder) -> None:
    """Blocking."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    write_atomic(folder / _ORDER, msgspec.json.encode(order))


def load_number(folder: Path) -> int | None:
    """The space's number among those that the host connects, None when it has none yet. Blocking."""
    try:
        return int((folder / _NUMBER).read_text())
    except (FileNotFoundError, ValueError):
        return None


def save_number(folder: Path, number: int) -> None:
    """Blocking."""
    write_atomic(folder / _NUMBER, f"{number}\n".encode())
