"""When a crashed machine is started again, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestartRules:
    """A life shorter than `quick_death_s` counts as a quick death; so many in a row are too many."""

    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    quick_death_s: float = 60.0
    quick_deaths_allowed: int = 8


@dataclass
class RestartCounter:
    """Counts an instance's deaths; pure."""

    rules: RestartRules
    quick_deaths: int = 0

    def died(self, lived_s: float) -> float | None:
        """Take note of a death; returns how long to wait before the next start, None to give up."""
        self.quick_deaths = self.quick_deaths + 1 if lived_s < self.rules.quick_death_s else 1
        if self.quick_deaths > self.rules.quick_deaths_allowed:
            return None
        # 2.0 ** 1000 is still a float, so no number of allowed deaths overflows here.
        return min(self.rules.longest_delay_s, self.rules.first_delay_s * 2.0 ** (self.quick_deaths - 1))

    def reset(self) -> None:
        """A start by command begins a new count."""
        self.quick_deaths = 0
