"""How to ask for the history of a time."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from insula.base.clock import iso
from insula.domain.history import Metric


def span_query(
    since: datetime | None, until: datetime | None, step_s: int | None, metrics: Collection[Metric]
) -> dict[str, Any]:
    """The query that says so; what is left out is the service's choice."""
    return {
        "since": iso(since) if since is not None else None,
        "until": iso(until) if until is not None else None,
        "step": step_s,
        "metrics": ",".join(metrics),
    }
