"""What settings make of a node."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from insula.base.settings import load
from insula.node.agent import assemble
from insula.protocol.node import InstanceSpec

from .conftest import quiet
from .test_templates import first_boot

NewSpec = Callable[..., InstanceSpec]


async def test_a_fake_boot_takes_as_long_as_it_shall(folder: Path, new_spec: NewSpec) -> None:
    own = {"INSULA_HOME": str(folder), "INSULA_DRIVER": "fake", "INSULA_TEMPLATES": "never"}
    async with await assemble(load(own | {"INSULA_FAKE_BOOT_S": "0.3"})) as node:
        await node.prepare_image("tiny", quiet)
        began_s = time.monotonic()
        await first_boot(node, new_spec())
        assert time.monotonic() - began_s >= 0.3
