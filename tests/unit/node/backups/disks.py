"""Imaginary disks: what is on them, written to a store and read back."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping

from insula.node.backups.repository import Repository
from insula.node.backups.sealing import CHUNK_BYTES
from insula.node.backups.tree import Tree
from insula.node.backups.writer import DiskContent, Extent


def content(seed: int) -> bytes:
    """A chunk that tells which one it is and cannot be compressed away."""
    return random.Random(seed).randbytes(CHUNK_BYTES)


async def extents(chunks: Mapping[int, bytes | None]) -> AsyncIterator[Extent]:
    """Chunks by their numbers; None is a hole."""
    for number, data in sorted(chunks.items()):
        yield Extent(number * CHUNK_BYTES, CHUNK_BYTES, data)


def disk(chunks: Mapping[int, bytes | None], size: int, parent: Tree | None = None) -> DiskContent:
    """A disk of `size` chunks that differs from its parent in these."""
    return DiskContent(size * CHUNK_BYTES, extents(chunks), parent)


async def read_back(repository: Repository, tree: Tree) -> dict[int, bytes]:
    """All chunks that are not zeros."""
    return {piece.offset // CHUNK_BYTES: piece.data async for piece in repository.read(tree)}
