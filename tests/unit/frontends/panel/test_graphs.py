from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from insula.domain.history import OF_INSTANCES, UNITS, History, Series
from insula.frontends.panel.graphs import graphs_of

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def _history(**values: tuple[float | None, ...]) -> History:
    count = max(map(len, values.values()))
    series = tuple(
        Series(metric, UNITS[metric], found, found)
        for metric in OF_INSTANCES
        if (found := values.get(metric.name, (None,) * count))
    )
    return History("ins_1", 10, tuple(NOW + timedelta(seconds=10 * step) for step in range(count)), series)


def test_what_was_not_measured_stays_a_gap() -> None:
    graph = graphs_of(_history(CPU=(10.0, 20.0, None, 40.0)))[0]
    assert len(re.findall("M", graph.curves[0].path)) == 2
    assert graph.curves[0].newest == "40 %"
    assert graph.top == "40 %"


def test_both_directions_have_one_scale() -> None:
    network = graphs_of(_history(NETWORK_RECEIVED=(0.0, 2048.0), NETWORK_SENT=(1024.0, 1024.0)))[3]
    assert [curve.name for curve in network.curves] == ["received", "sent"]
    assert network.top == "2 KiB/s"
    heights = [float(height) for height in re.findall(r"[ML][\d.]+ ([\d.]+)", network.curves[1].path)]
    assert heights == [20.0, 20.0]


def test_nothing_measured_is_an_empty_graph() -> None:
    graphs = graphs_of(_history(MEMORY=(None, None)))
    assert [curve.path for graph in graphs for curve in graph.curves] == [""] * 6
    assert {curve.newest for graph in graphs for curve in graph.curves} == {"—"}
