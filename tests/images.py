"""Images that tests share: made once by the product's own library, and copied to whoever needs one.

Making one takes a processor for a minute, and a dozen tests need a Debian. Tests that are about making images make
their own. They are kept in /var/tmp until what makes them changes, or for a day.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
import zlib
from pathlib import Path

from insula.node.storage.catalogue import open_library

_MAKER = Path(__file__).resolve().parents[1] / "src" / "insula" / "node" / "storage"


def lend(images: Path, *names: str) -> None:
    """Put the images into a node's folder of images. Blocking; a minute at the first time."""
    shared = _folder()
    for name in names:
        if (images / name).exists():
            continue
        asyncio.run(open_library(shared).prepare(name, lambda message, percent=-1: None))
        images.mkdir(mode=0o711, parents=True, exist_ok=True)
        subprocess.run(
            ["cp", "-a", "--sparse=always", "--reflink=auto", shared / name, images], check=True, timeout=300
        )


def _folder() -> Path:
    """Named by what goes into images and by the day; those of other days and versions go."""
    content = b"".join(
        path.read_bytes() for path in sorted(_MAKER.rglob("*")) if path.is_file() and path.suffix != ".pyc"
    )
    stem = f"insula-test-images-{os.geteuid()}-"
    wanted = Path(f"/var/tmp/{stem}{int(time.time() // 86400)}-{zlib.crc32(content):08x}")
    for other in wanted.parent.glob(f"{stem}*"):
        if other != wanted and time.time() - other.stat().st_mtime > 86400:
            shutil.rmtree(other, ignore_errors=True)
    wanted.mkdir(mode=0o711, exist_ok=True)
    return wanted
