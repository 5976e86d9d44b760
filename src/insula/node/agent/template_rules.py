"""What a node does about templates; see the settings of the same names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Making(StrEnum):
    """When templates are made. With NEVER none is used either: every instance boots."""

    AUTO = "auto"  # also by itself, after an instance had to boot for want of one
    ASKED = "asked"
    NEVER = "never"


@dataclass(frozen=True)
class TemplateRules:
    """`memory_mib` is how much of templates' memory is kept in the host's, `disk_gib` how much of its disk they take.

    `settle_s` is how long a guest has before it is frozen. By itself the node makes one while the host's load is below
    `calm_load` per processor; it looks after `pause_s`, and after ever longer pauses while there is no occasion.
    """

    making: Making = Making.AUTO
    memory_mib: int = 1024
    disk_gib: float = 10.0
    settle_s: float = 1.0
    calm_load: float = 0.7
    pause_s: float = 10.0
    longest_pause_s: float = 600.0
