"""Databases as a service leaves them that has done nothing yet: all tables are there, which takes long to make."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.databases import copied_database, empty_database
from tests.operations.control import make_node, open_control


@contextmanager
def ready_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new database of this kind, dropped afterwards. Each is a copy of one that this process made once."""
    first, _ = _first(kind)
    with copied_database(first, folder) as url:
        yield url


@functools.cache
def _first(kind: str) -> tuple[str, ExitStack]:
    kept = ExitStack()  # let go of when the process ends
    folder = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="insula-first-")))
    url = kept.enter_context(empty_database(kind, folder))
    with ThreadPoolExecutor(1) as pool:  # tests have a loop of their own
        pool.submit(asyncio.run, _open_once(url, folder / "node")).result()
    return url, kept


async def _open_once(url: str, folder: Path) -> None:
    async with make_node(folder) as node, open_control(url, node):
        pass
