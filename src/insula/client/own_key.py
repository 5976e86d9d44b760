"""The key that `insula ssh` logs in with, and the user's own keys that instances get as well.

`INSULA_HOME/client/id_ed25519` is made on first need and never replaced. It is apart from ~/.ssh, which is the user's:
we only read the public keys there, so that a plain `ssh` works too.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from insula.base.run import await_apart, run

_USERS_KEYS = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
_KEYGEN_TIMEOUT_S = 30.0


def private_key(home: Path) -> Path:
    """Where our key lies; see :func:`ensure`."""
    return home / "client" / "id_ed25519"


def ensure(home: Path) -> Path:
    """Make our key if there is none. Returns its path; raises CommandMissing without ssh-keygen."""
    path = private_key(home)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path.with_name("id_ed25519.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and path.with_name("id_ed25519.pub").exists():
            return path
        draft = path.with_name("id_ed25519.new")
        draft.unlink(missing_ok=True)
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "insula", "-f", str(draft)]
        await_apart(run(make, timeout_s=_KEYGEN_TIMEOUT_S))
        if path.exists():  # only its public half was lost
            draft.unlink()
            draft.with_name("id_ed25519.new.pub").unlink()
            public = await_apart(run(["ssh-keygen", "-y", "-f", str(path)], timeout_s=_KEYGEN_TIMEOUT_S)).stdout
            path.with_name("id_ed25519.pub").write_bytes(public)
            return path
        draft.with_name("id_ed25519.new.pub").rename(path.with_name("id_ed25519.pub"))
        draft.rename(path)
        return path
    finally:
        os.close(lock)


def public_keys(home: Path) -> list[str]:
    """Our public key, then those of the user, each once."""
    ours = ensure(home).with_name("id_ed25519.pub").read_text().strip()
    theirs = [Path.home() / ".ssh" / name for name in _USERS_KEYS]
    return list(dict.fromkeys([ours, *(path.read_text().strip() for path in theirs if os.access(path, os.R_OK))]))
