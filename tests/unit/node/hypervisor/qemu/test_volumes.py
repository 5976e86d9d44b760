"""What a machine without a place for volumes says, and that it is left as it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from insula.base.errors import Conflict, Unsupported
from insula.node.hypervisor.driver import MachineVolume
from insula.node.hypervisor.qemu import volumes
from insula.node.hypervisor.qemu.qmp import Qmp

_VOLUME = MachineVolume("vol_01hq4z3p5x1aaaaaaaaaaaaaaa", "data", Path("volume.qcow2"), 0)


class Answers:
    """A QMP connection that only looks: whatever changes the machine is not expected."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers

    async def run(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        return self._answers[command]


async def test_an_older_machine_has_no_controller() -> None:
    qmp = cast("Qmp", Answers({"qom-list": [{"name": "ports"}, {"name": "net0-device"}]}))
    with pytest.raises(Unsupported) as refused:
        await volumes.attach(qmp, _VOLUME)
    assert (refused.value.code, "start it again" in refused.value.todo) == ("no-volumes", True)


async def test_a_disk_is_never_told_to_shrink() -> None:
    node = {"node-name": "disk-throttled", "image": {"virtual-size": 9 << 30}}
    qmp = cast("Qmp", Answers({"query-named-block-nodes": [node]}))
    with pytest.raises(Conflict) as refused:
        await volumes.resize(qmp, "disk-throttled", 5)
    assert (refused.value.code, "It has 9 GiB" in refused.value.why) == ("disk-shrink", True)
