"""metrics, top."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from insula.base.clock import now_utc
from insula.base.errors import Forbidden, InvalidInput
from insula.cli.options import duration_s
from insula.cli.output import json_option, print_json, print_table, say, size_of
from insula.cli.session import Session
from insula.domain.history import MEASURED_EVERY_S, RESOLUTIONS, Metric, Series, Use

_BARS = "▁▂▃▄▅▆▇█"
_GAP = " "
_WIDTH = 60
_OLDEST_S = RESOLUTIONS[-1].kept_s
_LABELS = {
    Metric.CPU: "cpu",
    Metric.MEMORY: "memory",
    Metric.DISK_READ: "disk read",
    Metric.DISK_WRITTEN: "disk written",
    Metric.DISK_READS: "disk reads",
    Metric.DISK_WRITES: "disk writes",
    Metric.NETWORK_RECEIVED: "received",
    Metric.NETWORK_SENT: "sent",
    Metric.NETWORK_RECEIVED_PACKETS: "packets received",
    Metric.NETWORK_SENT_PACKETS: "packets sent",
    Metric.DISK_USED: "disk used",
    Metric.LOAD: "load",
}
_BYTES = frozenset({Metric.MEMORY, Metric.DISK_USED})
_BYTES_PER_S = frozenset({Metric.DISK_READ, Metric.DISK_WRITTEN, Metric.NETWORK_RECEIVED, Metric.NETWORK_SENT})
_COLUMNS = (
    *(Metric.CPU, Metric.MEMORY, Metric.DISK_READ, Metric.DISK_WRITTEN),
    *(Metric.NETWORK_RECEIVED, Metric.NETWORK_SENT),
)


@click.command()
@click.argument("instance", required=False)
@click.option("--host", is_flag=True, help="Of the host instead of an instance.")
@click.option("--since", default="1h", metavar="TIME", help="How far back, like 10m, 24h or 7d (1h).")
@click.option("--step", type=int, metavar="SECONDS", help="A point for so many seconds; what fits otherwise.")
@json_option
@click.pass_obj
def metrics(session: Session, instance: str | None, *, host: bool, since: str, step: int | None, as_json: bool) -> None:
    """Show what an instance, or the host, used: processors, memory, disks, network."""
    if host == (instance is not None):
        raise InvalidInput(
            "Metrics are of an instance or of the host",
            why="Both were named" if host else "Neither was named",
            todo="Say insula metrics web1, or insula metrics --host",
        )
    begin = now_utc() - timedelta(seconds=min(duration_s(since, "--since"), _OLDEST_S))
    if instance is None:
        found = session.client.host.metrics(since=begin, step_s=step)
    else:
        found = session.client.instances.metrics(instance, since=begin, step_s=step)
    if as_json:
        series = [{"metric": one.metric, "unit": one.unit, "avg": one.avg, "max": one.max} for one in found.series]
        print_json({"subject": found.subject, "step_s": found.step_s, "times": found.times, "series": series})
        return
    rows = [_row(one) for one in found.series if any(value is not None for value in one.avg)]
    head = ("", "NOW", "MEAN", "HIGHEST", f"SINCE {since} AGO")
    print_table(head, rows, empty=f"Nothing was measured of {found.subject} in that time.")


def _row(series: Series) -> tuple[str, ...]:
    known = [value for value in series.avg if value is not None]
    highest = max(value for value in series.max if value is not None)
    now = next((value for value in reversed(series.avg[-3:]) if value is not None), None)
    return (
        _LABELS[series.metric],
        _shown(series.metric, now),
        _shown(series.metric, sum(known) / len(known)),
        _shown(series.metric, highest),
        sparkline(series.avg, _WIDTH),
    )


def sparkline(values: Sequence[float | None], width: int) -> str:
    """A line of bars, lowest to highest from nothing to the highest mean; a blank where nothing was measured."""
    parts = [values[len(values) * at // width : len(values) * (at + 1) // width] for at in range(width)]
    if len(values) < width:
        parts = [[value] for value in values]
    means = [sum(known) / len(known) if (known := [v for v in part if v is not None]) else None for part in parts]
    top = max((mean for mean in means if mean is not None), default=0.0) or 1.0
    last = len(_BARS) - 1
    return "".join(_GAP if mean is None else _BARS[round(max(mean, 0.0) / top * last)] for mean in means)


def _shown(metric: Metric, value: float | None) -> str:
    if value is None:
        return "-"
    if metric is Metric.CPU:
        return f"{value:.1f} %"
    if metric in _BYTES:
        return size_of(value)
    return f"{_short(value)}B/s" if metric in _BYTES_PER_S else f"{value:.1f}"


def _short(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} "


@click.command()
@click.option("--once", is_flag=True, help="Print it once and end.")
@json_option
@click.pass_obj
def top(session: Session, *, once: bool, as_json: bool) -> None:
    """Show what all instances and the host use now, those that work most first, again every ten seconds.

    Without a terminal, and with --json, it is printed once.
    """
    if as_json:
        uses = {"instances": _sorted(session.client.instances.use()), "hosts": _hosts(session)}
        print_json({name: [_plain(one) for one in found] for name, found in uses.items()})
        return
    try:
        while True:
            instances, hosts = _sorted(session.client.instances.use()), _hosts(session)
            is_live = sys.stdout.isatty() and not once
            if is_live:
                click.clear()
            _print_use(instances, hosts)
            if not is_live:
                return
            say("Ctrl-C ends this.")
            time.sleep(MEASURED_EVERY_S)
    except KeyboardInterrupt:
        return


def _print_use(instances: Sequence[Use], hosts: Sequence[Use]) -> None:
    head = ("NAME", "CPU", "MEMORY", "READ", "WRITTEN", "RECEIVED", "SENT")
    rows = [("(host) " + one.name, *_cells(one)) for one in hosts]
    rows += [(one.name, *_cells(one)) for one in instances]
    print_table(head, rows, empty="There are no instances.")


def _plain(use: Use) -> dict[str, Any]:
    return {"id": use.id, "name": use.name, "at": use.at, "values": use.values}


def _cells(use: Use) -> list[str]:
    return [_shown(metric, use.values.get(metric)) for metric in _COLUMNS]


def _sorted(uses: Sequence[Use]) -> list[Use]:
    return sorted(uses, key=lambda use: (-use.values.get(Metric.CPU, -1.0), use.name))


def _hosts(session: Session) -> list[Use]:
    """Nothing for those who may not see the host."""
    try:
        return session.client.host.use()
    except Forbidden:
        return []
