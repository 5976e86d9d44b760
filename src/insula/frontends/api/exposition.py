"""What is measured, as Prometheus reads it. Source: prometheus.io/docs/instrumenting/exposition_formats, text 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from insula.domain.history import Metric, Use

MEDIA = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class _Name:
    """Behind `insula_instance_` and `insula_host_`."""

    name: str
    is_counter: bool
    help: str


_NAMES: Mapping[Metric, _Name] = {
    Metric.CPU: _Name("cpu_seconds_total", True, "Processor time used, all cores together."),
    Metric.MEMORY: _Name("memory_bytes", False, "Memory of the host in use."),
    Metric.DISK_READ: _Name("disk_read_bytes_total", True, "Bytes read from disks."),
    Metric.DISK_WRITTEN: _Name("disk_written_bytes_total", True, "Bytes written to disks."),
    Metric.DISK_READS: _Name("disk_reads_total", True, "Read operations of disks."),
    Metric.DISK_WRITES: _Name("disk_writes_total", True, "Write operations of disks."),
    Metric.NETWORK_RECEIVED: _Name("network_received_bytes_total", True, "Bytes received."),
    Metric.NETWORK_SENT: _Name("network_sent_bytes_total", True, "Bytes sent."),
    Metric.NETWORK_RECEIVED_PACKETS: _Name("network_received_packets_total", True, "Packets received."),
    Metric.NETWORK_SENT_PACKETS: _Name("network_sent_packets_total", True, "Packets sent."),
    Metric.DISK_USED: _Name("disk_used_bytes", False, "Bytes in use of the disk that holds instances."),
    Metric.LOAD: _Name("load_1m", False, "Processes that run or wait, a mean over a minute."),
}


def exposition(project: str, instances: Sequence[Use], nodes: Sequence[Use]) -> bytes:
    """All of it as text. Counters of an instance begin with its machine."""
    labelled = [({"instance": one.name, "id": one.id, "project": project}, one) for one in instances]
    up = [
        "# HELP insula_instance_up Whether the instance's machine is there.",
        "# TYPE insula_instance_up gauge",
        *(f"insula_instance_up{_labels(labels)} {int(bool(one.totals))}" for labels, one in labelled),
    ]
    hosts = [({"node": one.name}, one) for one in nodes]
    lines = [*up, *_families("instance", labelled), *_families("host", hosts)]
    return ("\n".join(lines) + "\n").encode()


def _families(prefix: str, uses: Iterable[tuple[Mapping[str, str], Use]]) -> Iterator[str]:
    known = list(uses)
    for metric, name in _NAMES.items():
        rows = [(labels, use.totals[metric]) for labels, use in known if metric in use.totals]
        if not rows:
            continue
        whole = f"insula_{prefix}_{name.name}"
        yield f"# HELP {whole} {name.help}"
        yield f"# TYPE {whole} {'counter' if name.is_counter else 'gauge'}"
        for labels, value in rows:
            yield f"{whole}{_labels(labels)} {value!r}"


def _labels(labels: Mapping[str, str]) -> str:
    # Names of ours need no escapes, but a node's is whatever its host says.
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
