"""Each machine's own unprivileged user."""

from __future__ import annotations

import os
from pathlib import Path

from insula.node.runtime.uids import UidRange


def give_user(uids: UidRange, folder: Path) -> int:
    """A user of its own for the machine in `folder`, who may pass through it, but not list or change it."""
    uid = uids.claim(folder)
    os.chown(folder, -1, uid)
    folder.chmod(0o710)
    return uid
