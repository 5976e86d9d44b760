"""`insula traffic` as people read it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import msgspec
from click.testing import CliRunner

from insula.cli.commands.traffic import traffic
from insula.client.decode import build
from insula.domain.traffic import InstanceTraffic
from insula.frontends.api.examples import EXAMPLES


def test_each_hour_has_a_line_and_all_have_one_together() -> None:
    """What the service tells is read as the client reads it."""
    told = build(InstanceTraffic, json.loads(msgspec.json.encode(EXAMPLES[InstanceTraffic])))
    client = SimpleNamespace(instances=SimpleNamespace(traffic=lambda *_names, **_options: told))
    done = CliRunner().invoke(traffic, ["web1"], obj=SimpleNamespace(client=client))
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].split() == ["HOUR", "SENT", "PACKETS", "RECEIVED", "PACKETS"]
    assert [line.split()[0] for line in lines[1:]] == [f"{each.hour:%Y-%m-%d}" for each in told.hours] + ["all"]
