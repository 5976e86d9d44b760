"""A node on the fake driver, and a specification to try it with."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from insula.domain.ids import Kind, new_id
from insula.domain.instance import BootPhase, Resources
from insula.node.agent import Node, NodeParts
from insula.node.agent.pool_rules import PoolRules
from insula.node.agent.restart import RestartRules
from insula.node.agent.template_rules import Making, TemplateRules
from insula.node.hypervisor.fake.driver import FakeDriver
from insula.node.network.none import NoNetwork
from insula.node.storage.memory import MemoryDisks, MemoryImages
from insula.protocol.node import InstanceSpec
from tests.connected import nic

RULES = RestartRules(first_delay_s=0.01, longest_delay_s=0.02, quick_death_s=60, quick_deaths_allowed=3)
NO_POOL = PoolRules()
ASKED = TemplateRules(Making.ASKED, settle_s=0.0)


def quiet(message: str, percent: int = -1) -> None:
    """Progress that nobody watches."""


def no_phase(phase: BootPhase) -> None:
    """A boot that nobody watches."""


def make_node(
    folder: Path, driver: FakeDriver | None = None, templates: TemplateRules = ASKED, pool: PoolRules = NO_POOL
) -> Node:
    parts = NodeParts(
        name="test",
        folder=folder,
        driver=driver or FakeDriver(),
        images=MemoryImages(folder / "images"),
        disks=MemoryDisks(),
        network=NoNetwork(),
        rules=RULES,
        templates=templates,
        pool=pool,
    )
    return Node(parts)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A node's folder with a short path: a Unix socket's name has room for 107 characters only."""
    with tempfile.TemporaryDirectory(prefix="insula-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
async def node(folder: Path, driver: FakeDriver) -> AsyncIterator[Node]:
    async with make_node(folder, driver) as made:
        await made.prepare_image("tiny", quiet)
        yield made


@pytest.fixture
def new_spec() -> Callable[..., InstanceSpec]:
    def make(**changes: object) -> InstanceSpec:
        fields: dict[str, object] = {
            "id": new_id(Kind.INSTANCE),
            "project": "default",
            "name": "web1",
            "hostname": "web1",
            "image": "tiny",
            "resources": Resources(vcpus=1, memory_mib=128, disk_gib=2, cpu_percent=100),
            "nics": (nic("52:54:00:00:00:01"),),
        }
        return InstanceSpec(**(fields | changes))  # type: ignore[arg-type]  # the tests give fitting values

    return make
