"""What all tests share: which ones this machine can run, and which ones must not run at the same time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from _pytest.nodeid import coerce_node_id  # nothing public changes an id
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Emulated machines need a processor each, and their tests wait half of the time; more at once make each other time out.
_MACHINES_AT_ONCE = max(2, len(os.sched_getaffinity(0))) + 1
_SLOTS = Path(tempfile.gettempdir(), f"insula-test-machines-{os.geteuid()}")
_LOOK_EVERY_S = 0.2
_TOGETHER = frozenset(
    {
        "tests/vm/test_debian.py",
        "tests/dialects/test_digitalocean_contract.py",
        "tests/dialects/test_lightsail_contract.py",
        "tests/dialects/test_linode_contract.py",
        "tests/panel/test_browser.py",
    }
)
_MADE_UP = frozenset({"test_schema.py", "test_digitalocean_schema.py"})


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Schemathesis makes up its cases while tests are collected, in every worker, also those that nobody runs then."""
    return True if collection_path.name in _MADE_UP and "not thorough" in config.option.markexpr else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # schemathesis gives all endpoints of a test one id, of which workers would run a single one.
        if not item.nodeid.endswith(item.name):
            item._id = coerce_node_id(f"{item.nodeid.rpartition('::')[0]}::{item.name}")
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        if item.get_closest_marker("postgres") and not os.environ.get("INSULA_TEST_POSTGRES"):
            item.add_marker(pytest.mark.skip(reason="needs the private PostgreSQL that ./test starts"))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Every test goes to whichever worker is free, but for files whose tests share what takes long to make."""
    return _Scheduler(config, log)


class _Scheduler(LoadScopeScheduling):  # type: ignore[misc]  # xdist tells no types
    def _split_scope(self, nodeid: str) -> str:
        """What goes to one worker together with what else has the same."""
        file = nodeid.partition("::")[0]
        return file if file in _TOGETHER else nodeid


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tests of real machines wait for their turn, which no time limit counts."""
    if item.get_closest_marker("vm") is None:
        return (yield)
    with _turn():
        return (yield)


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    _SLOTS.mkdir(exist_ok=True)
    files = [(_SLOTS / str(number)).open("w") for number in range(_MACHINES_AT_ONCE)]
    with contextlib.ExitStack() as opened:
        for file in files:
            opened.enter_context(file)
        while not any(_is_taken(file.fileno()) for file in files):
            time.sleep(_LOOK_EVERY_S)
        yield


def _is_taken(descriptor: int) -> bool:
    """Take the lock until the file is closed, if it is free."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
