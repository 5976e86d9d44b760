"""Whose machine it is that answers at a socket."""

from __future__ import annotations

from typing import cast

import pytest

from insula.node.hypervisor.driver import Plate
from insula.node.hypervisor.qemu.argv import machine_uuid, plate_uuid
from insula.node.hypervisor.qemu.driver import _is_machine_of
from insula.node.hypervisor.qemu.qmp import Qmp


class _Machine:
    """Says which UUID it has."""

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid

    async def run(self, command: str) -> dict[str, str]:
        assert command == "query-uuid"
        return {"UUID": self._uuid}


@pytest.mark.parametrize("uuid", [machine_uuid("ins_1"), plate_uuid("ins_1", Plate("Amazon EC2", uuid_prefix="ec2"))])
async def test_a_machine_is_known_whatever_its_plate_says(uuid: str) -> None:
    assert await _is_machine_of(cast("Qmp", _Machine(uuid)), "ins_1")
    assert not await _is_machine_of(cast("Qmp", _Machine(uuid)), "ins_2")
