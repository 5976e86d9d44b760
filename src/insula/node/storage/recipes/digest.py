"""Tells whether an image was made by this very recipe."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent


@cache
def recipe_digest(name: str) -> str:
    """A hash over all recipe code and every file that goes into the guest `name`."""
    digest = hashlib.sha256()
    layers = ("initrd", "shared", name)
    data = [path for layer in layers for path in (_FOLDER / "files" / layer).rglob("*") if path.is_file()]
    for path in sorted([*_FOLDER.glob("*.py"), *data]):
        content = path.read_bytes()
        executable = bool(path.stat().st_mode & 0o100)
        digest.update(f"{path.relative_to(_FOLDER)} {len(content)} {executable}\n".encode())
        digest.update(content)
    return digest.hexdigest()
