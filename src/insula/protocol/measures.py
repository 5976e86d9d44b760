"""What a node measures of itself and of its instances, for control to make history of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from insula.domain.history import Reading


@dataclass(frozen=True)
class Measures:
    """Readings of the host, and of all instances whose machines are there, by their ids."""

    host: Reading
    instances: Mapping[str, Reading] = field(default_factory=dict)
