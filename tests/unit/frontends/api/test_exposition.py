from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from insula.domain.history import OF_HOSTS, OF_INSTANCES, Use
from insula.frontends.api.exposition import exposition

_WEB = Use("ins_1", "web1", totals={metric: 1000.5 + place for place, metric in enumerate(OF_INSTANCES)})
_OFF = Use("ins_2", "off1")
_NODE = Use("local", 'odd "\\\n name', totals=dict.fromkeys(OF_HOSTS, 2.0))


def _families(text: bytes) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """By names and labels, as Prometheus' own parser reads them."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert family.documentation
    return found


def test_instances_and_nodes_are_read_by_prometheus() -> None:
    found = _families(exposition("default", [_WEB, _OFF], [_NODE]))
    labels = (("id", "ins_1"), ("instance", "web1"), ("project", "default"))
    assert found["insula_instance_cpu_seconds_total"] == {labels: 1000.5}
    assert found["insula_instance_memory_bytes"] == {labels: 1001.5}
    assert list(found["insula_instance_up"].values()) == [1, 0]
    assert found["insula_host_load_1m"] == {(("node", 'odd "\\\n name'),): 2.0}
    assert len(found) == 1 + len(OF_INSTANCES) + len(OF_HOSTS)


def test_nothing_is_told_of_nothing() -> None:
    assert set(_families(exposition("default", [_OFF], []))) == {"insula_instance_up"}
    assert _families(exposition("default", [], [])) == {}
