"""The shapes of what instances and nodes use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from insula.control.actions.history import Span
from insula.domain.history import RESOLUTIONS, History, Metric, Use
from insula.frontends.api.schemas import Wish

Moment = Annotated[datetime, Meta(tz=True)]
Step = Annotated[int, Meta(ge=10, le=366 * 86400)]
_ONE = "|".join(Metric)
_STEPS = ", ".join(str(each.step_s) for each in RESOLUTIONS)


class MetricsQuery(Wish, frozen=True):
    """Of what time, in what steps, and which metrics."""

    since: Annotated[Moment | None, Meta(description="The last hour when left out")] = None
    until: Annotated[Moment | None, Meta(description="Now when left out")] = None
    step: Annotated[Step | None, Meta(description=f"In seconds: one of {_STEPS}, or a multiple")] = None
    metrics: Annotated[
        str,
        Meta(
            pattern=f"^(|({_ONE})(,({_ONE}))*)$",
            max_length=500,
            description="names of metrics with commas between them; all when left out",
        ),
    ] = ""

    def span(self) -> Span:
        names = self.metrics.split(",") if self.metrics else ()
        return Span(self.since, self.until, self.step, metrics=[Metric(name) for name in names])


@dataclass(frozen=True)
class SeriesView:
    """One metric: a mean and the highest mean over ten seconds for each step, null where nothing was measured."""

    metric: Metric
    unit: str
    avg: Sequence[float | None]
    max: Sequence[float | None]


@dataclass(frozen=True)
class HistoryView:
    """`times` are the beginnings of the steps, without holes; every series is as long."""

    subject: str
    step_s: int
    times: Sequence[datetime]
    series: Sequence[SeriesView]


@dataclass(frozen=True)
class UseView:
    """The newest values; none of an instance that has no machine. `at` is when they were measured."""

    id: str
    name: str
    at: datetime | None
    values: Mapping[Metric, float]


def history_view(found: History) -> HistoryView:
    series = [SeriesView(one.metric, one.unit, _short(one.avg), _short(one.max)) for one in found.series]
    return HistoryView(found.subject, found.step_s, found.times, series)


def use_view(found: Use) -> UseView:
    return UseView(found.id, found.name, found.at, {metric: round(value, 3) for metric, value in found.values.items()})


def _short(values: Sequence[float | None]) -> list[float | None]:
    """Without the digits that nobody measured."""
    return [None if value is None else round(value, 3) for value in values]
