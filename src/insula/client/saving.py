"""Writing what the service sends to files of ours."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def save(pieces: Iterable[bytes], file: Path, mode: int | None = None) -> int:
    """Write the pieces to `file`, as new files are unless `mode` is given; the number of bytes."""
    # Beside its place first: a copy that breaks off must not leave half a file under the wanted name.
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    made_with = 0o666 if mode is None else 0o600
    written = 0
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, made_with), "wb") as opened:
            for piece in pieces:
                written += opened.write(piece)
        if mode is not None:
            draft.chmod(mode)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return written
