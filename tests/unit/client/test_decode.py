"""What the service encodes, the client decodes to the same value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from insula.client.decode import build
from insula.client.operations import parse_events
from insula.domain.image import Image
from insula.domain.instance import Instance
from insula.domain.operation import Operation
from insula.domain.traffic import Counts, HourTraffic, InstanceTraffic
from insula.frontends.api.examples import EXAMPLES
from insula.frontends.api.schemas import InstanceView
from insula.protocol.node import ExecResult


@dataclass(frozen=True)
class Several:
    hours: Sequence[HourTraffic]
    by_name: Mapping[str, Counts]


@pytest.mark.parametrize("kind", [Operation, Image, ExecResult, InstanceTraffic])
def test_there_and_back(kind: type[Any]) -> None:
    value = EXAMPLES[kind]
    assert build(kind, json.loads(msgspec.json.encode(value))) == value


def test_an_instance_is_its_view() -> None:
    view = EXAMPLES[InstanceView]
    built = build(Instance, json.loads(msgspec.json.encode(view)))
    for name in InstanceView.__dataclass_fields__:
        assert getattr(built, name) == getattr(view, name)


def test_values_in_lists_and_under_names_are_values_as_well() -> None:
    data = {
        "hours": [{"hour": "2026-11-28T14:00:00Z", "counts": {"sent_bytes": 1}}],
        "by_name": {"a": {"sent_bytes": 2}},
    }
    hour = HourTraffic(datetime(2026, 11, 28, 14, tzinfo=UTC), Counts(sent_bytes=1))
    assert build(Several, data) == Several((hour,), {"a": Counts(sent_bytes=2)})


def test_what_a_newer_service_adds_is_ignored() -> None:
    data = json.loads(msgspec.json.encode(EXAMPLES[ExecResult])) | {"unheard_of": 1}
    assert build(ExecResult, data) == EXAMPLES[ExecResult]


def test_events() -> None:
    stream = [
        b": hello\n",
        b"\n",
        b"id: 1\r\n",
        b"event: step\n",
        b'data: {"a":1}\n',
        b"\n",
        b"event: end\n",
        b"data: {}\n",
    ]
    assert list(parse_events(stream)) == [("step", {"a": 1})]
    assert list(parse_events([*stream, b"\n"])) == [("step", {"a": 1}), ("end", {})]


def test_what_is_in_sequences_is_built_as_well() -> None:
    counts = {"sent_bytes": 1, "sent_packets": 2, "received_bytes": 3, "received_packets": 4}
    hours = [{"hour": "2026-01-31T08:00:00Z", "counts": counts}]
    found = build(
        InstanceTraffic, {"instance_id": "i", "since": "2026-01-31T08:00:00Z", "total": counts, "hours": hours}
    )
    assert found.hours == (HourTraffic(datetime(2026, 1, 31, 8, tzinfo=UTC), Counts(1, 2, 3, 4)),)
