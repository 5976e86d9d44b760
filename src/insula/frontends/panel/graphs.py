"""Graphs of what an instance uses, drawn by the server: they are seen without scripts, and current with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from insula.base.clock import now_utc
from insula.control.actions.history import Span
from insula.domain.history import History, Metric, Series
from insula.frontends.panel.render import bytes_text, page
from insula.frontends.panel.visit import Answer, Visit, route

_HEIGHT, _WIDTH, _POINTS = 40.0, 100.0, 180
SPANS: Mapping[str, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
}


@dataclass(frozen=True)
class Curve:
    """One line of a graph: the path of an SVG, and what was measured last."""

    name: str
    path: str
    newest: str


@dataclass(frozen=True)
class Graph:
    """`top` is what the upper edge stands for."""

    title: str
    curves: tuple[Curve, ...]
    top: str


def _percent(value: float) -> str:
    return f"{value:.3g} %"


def _rate(value: float) -> str:
    return f"{bytes_text(value)}/s"


_GRAPHS: tuple[tuple[str, Callable[[float], str], tuple[tuple[Metric, str], ...]], ...] = (
    ("Processor, percent of a core", _percent, ((Metric.CPU, "used"),)),
    ("Memory", bytes_text, ((Metric.MEMORY, "used"),)),
    ("Disk", _rate, ((Metric.DISK_READ, "read"), (Metric.DISK_WRITTEN, "written"))),
    ("Network", _rate, ((Metric.NETWORK_RECEIVED, "received"), (Metric.NETWORK_SENT, "sent"))),
)


@route("GET", "/instances/{name}/use")
async def use(visit: Visit) -> Answer:
    """What it used in the last hour, or longer."""
    chosen = visit.query.get("span", "")
    chosen = chosen if chosen in SPANS else "hour"
    span = Span(since=now_utc() - SPANS[chosen], points=_POINTS)
    found = await visit.actions.history.of_instance(visit.caller, visit.path["name"], span)
    return page(visit, "use.html", name=visit.path["name"], graphs=graphs_of(found), spans=tuple(SPANS), chosen=chosen)


def graphs_of(found: History) -> tuple[Graph, ...]:
    """One for each resource, with a line for each direction."""
    by_metric = {series.metric: series for series in found.series}
    return tuple(
        _graph(title, text, [(by_metric[metric], name) for metric, name in wanted if metric in by_metric])
        for title, text, wanted in _GRAPHS
    )


def _graph(title: str, text: Callable[[float], str], lines: Sequence[tuple[Series, str]]) -> Graph:
    most = max((value for series, _ in lines for value in series.avg if value is not None), default=0.0)
    curves = tuple(Curve(name, _path(series.avg, most), _newest(series.avg, text)) for series, name in lines)
    return Graph(title, curves, text(most))


def _newest(values: Sequence[float | None], text: Callable[[float], str]) -> str:
    return next((text(value) for value in reversed(values) if value is not None), "—")


def _path(values: Sequence[float | None], most: float) -> str:
    """Lines through what was measured; what was not stays a gap."""
    step = _WIDTH / max(1, len(values) - 1)
    parts, is_begun = [], False
    for index, value in enumerate(values):
        if value is None:
            is_begun = False
            continue
        height = _HEIGHT - 1 - (_HEIGHT - 2) * (value / most if most else 0)
        parts.append(f"{'L' if is_begun else 'M'}{index * step:.2f} {height:.2f}")
        if not is_begun:
            parts.append("h0.01")  # a single point is seen as well
        is_begun = True
    return "".join(parts)
