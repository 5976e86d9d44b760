"""Through which port of a space's way out each forward comes in.

The host may forward the same number on several of its addresses, and all of them arrive at the space's one address.
"""

from __future__ import annotations

from insula.domain.network import Forward, Space

_FIRST_SPARE = 49152


def doors_of(space: Space) -> dict[tuple[str, int], Forward]:
    """Forwards by protocol and port at the way out: the host's number where it is free, else a spare one."""
    doors: dict[tuple[str, int], Forward] = {}
    later: list[Forward] = []
    for forward in sorted(space.forwards, key=lambda f: (f.forward.host_port, f.forward.host_address)):
        wanted = (forward.forward.protocol.value, forward.forward.host_port)
        if wanted in doors:
            later.append(forward)
        else:
            doors[wanted] = forward
    for forward in later:
        number = _FIRST_SPARE
        while (forward.forward.protocol.value, number) in doors:
            number += 1
        doors[(forward.forward.protocol.value, number)] = forward
    return doors
