"""Runs `qemu-img` on files that a guest or a stranger may have written.

A disk image can name other files (backing files, external data, VMDK extents) and its parser may have holes. So the
tool runs in the jail that machines run in, with the files it was given only, and with limits on memory, processor time
and file size.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from insula.base.run import Completed, run
from insula.node.runtime.jail import Jail, confined
from insula.node.runtime.uids import UidRange

_MEMORY_BYTES = 4 << 30
LARGEST_FILE_BYTES = 1 << 45


async def run_confined(
    argv: Sequence[str],
    jail: Jail,
    *,
    timeout_s: float,
    max_file_bytes: int = LARGEST_FILE_BYTES,
    check: bool = True,
) -> Completed:
    """Run a tool in the jail, with limits. Raises what :func:`insula.base.run.run` and :func:`confined` raise."""
    limits = [f"--as={_MEMORY_BYTES}", f"--cpu={int(timeout_s) + 1}", f"--fsize={max_file_bytes}", "--nofile=256"]
    return await run(["prlimit", *limits, "--core=0", *confined(argv, jail)], timeout_s=timeout_s, check=check)


@contextlib.asynccontextmanager
async def lent_to_stranger(path: Path) -> AsyncIterator[int | None]:
    """Let a user that is nobody else own `path` for a while; gives its uid. As an ordinary user: None, nothing changes.

    The file is ours again at the end.
    """
    if not UidRange.is_usable():
        yield None
        return
    uids = UidRange()
    claim = path.with_name(f".{path.name}.lent")
    claim.mkdir(mode=0o755, exist_ok=True)
    try:
        uid = await asyncio.to_thread(uids.claim, claim)
        os.chown(path, uid, uid, follow_symlinks=False)
        yield uid
    finally:
        os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
        await asyncio.shield(asyncio.to_thread(uids.release, claim))
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, claim))
