"""A root password for a new guest, which gets it with its user-data: as a hash, the password itself is kept nowhere."""

from __future__ import annotations

import base64
from typing import Any

import yaml
from passlib.hash import sha512_crypt  # type: ignore[import-untyped]

from insula.base.errors import InvalidInput
from insula.control.actions.user_data import check_user_data

_MARK = "#cloud-config"
_SCRIPT = "/var/lib/insula/user-script"
_ROUNDS = 5000  # what guests' own tools take; more would keep an emulated one busy at each login
_FEWEST_CHARS, _MOST_CHARS = 7, 128


def with_root_password(user_data: str, password: str, field: str = "root_password") -> str:
    """The user-data, and that root has this password. Raises InvalidInput.

    A script runs as before, from a cloud-config. SSH lets root in by keys only, as the image says.
    """
    if not _FEWEST_CHARS <= len(password) <= _MOST_CHARS or not password.isprintable():
        raise _wrong(field, f"It has {_FEWEST_CHARS} to {_MOST_CHARS} printable characters", "Choose another")
    config = _config(check_user_data(user_data), field)
    known = config.get("chpasswd")
    users = known.get("users") if isinstance(known, dict) else None
    hashed = sha512_crypt.using(rounds=_ROUNDS).hash(password)
    root = {"name": "root", "password": hashed, "type": "hash"}
    config["chpasswd"] = {"expire": False, "users": [*(users if isinstance(users, list) else ()), root]}
    return f"{_MARK}\n{yaml.safe_dump(config)}"


def _config(user_data: str, field: str) -> dict[str, Any]:
    if not user_data.strip():
        return {}
    if user_data.startswith("#!"):
        content = base64.b64encode(user_data.encode()).decode()
        file = {"path": _SCRIPT, "permissions": "0700", "encoding": "b64", "content": content}
        return {"write_files": [file], "runcmd": [[_SCRIPT]]}
    if user_data.startswith(_MARK):
        return dict(yaml.safe_load(user_data) or {})
    raise _wrong(
        field, "The user-data is neither a script nor a cloud-config", "Set the password there, or leave it out"
    )


def _wrong(field: str, why: str, todo: str) -> InvalidInput:
    return InvalidInput("This root password cannot be had", why=why, todo=todo, fields={field: why})
