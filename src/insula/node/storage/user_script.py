"""Turns user-data into a shell script, for guests that are too small for cloud-init.

A `#!` script is taken as it is. Of a cloud-config, the keys that need nothing but a shell are understood: `hostname`,
`chpasswd`, `ssh_authorized_keys`, `write_files`, `bootcmd` and `runcmd` (see cloud-init's module reference). What is
not understood is said on the guest's console instead of being passed over.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from insula.base.errors import InvalidInput

CLOUD_CONFIG_MARK = "#cloud-config"
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_HASH = re.compile(r"\$[0-9a-z]+\$[A-Za-z0-9./$=,]+")  # see crypt(5)


def first_boot_script(user_data: str) -> str:
    """The script, empty when there is nothing to do.

    Raises :class:`InvalidInput` when a cloud-config is no YAML mapping or one of the understood keys has a wrong shape.
    """
    text = user_data.lstrip("\ufeff")
    if not text.strip():
        return ""
    if text.startswith("#!"):
        return text
    if text.startswith(CLOUD_CONFIG_MARK):
        return _from_cloud_config(text)
    return "#!/bin/sh\necho 'insula: this user-data is neither a script nor a cloud-config; nothing was done with it'\n"


def _from_cloud_config(text: str) -> str:
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _invalid(f"it is not YAML: {' '.join(str(error).split())}") from error
    if config is None:
        return ""
    if not isinstance(config, dict):
        raise _invalid("its top level must be a mapping of keys to values")
    lines = ["#!/bin/sh"]
    for key, translate in _KEYS.items():
        if config.get(key) is not None:
            lines += translate(config[key])
    if unknown := sorted(str(key) for key in config if key not in _KEYS):
        lines.append(f"echo {shlex.quote('insula: this small guest does not know: ' + ', '.join(unknown))}")
    return "\n".join(lines) + "\n"


def _hostname(value: Any) -> list[str]:
    name = shlex.quote(_text(value, "hostname"))
    return [f"hostname {name}", f"echo {name} > /etc/hostname"]


def _keys(value: Any) -> list[str]:
    file = "/root/.ssh/authorized_keys"
    keys = [_text(key, "ssh_authorized_keys") for key in _list(value, "ssh_authorized_keys")]
    return [f"printf '%s\\n' {shlex.quote(key)} >> {file}" for key in keys]


def _passwords(value: Any) -> list[str]:
    if not isinstance(value, Mapping):
        raise _invalid("chpasswd must be a mapping with users")
    return [_password(user) for user in _list(value.get("users", []), "chpasswd.users")]


def _password(user: Any) -> str:
    """Hashes only, and by hand: this small guest has no tool that makes or sets one."""
    if not isinstance(user, Mapping):
        raise _invalid("each of chpasswd.users must be a mapping with a name")
    name = _text(user.get("name"), "chpasswd.users.name")
    password = _text(user.get("password", ""), "chpasswd.users.password")
    if user.get("type", "hash") != "hash" or not _HASH.fullmatch(password) or not _USER.fullmatch(name):
        return f"echo {shlex.quote(f'insula: this small guest takes hashes of passwords only, and none for {name}')}"
    return f"sed -i {shlex.quote(f's|^{name}:[^:]*:|{name}:{password}:|')} /etc/shadow"


def _files(value: Any) -> list[str]:
    return [line for entry in _list(value, "write_files") for line in _file(entry)]


def _file(entry: Any) -> list[str]:
    if not isinstance(entry, Mapping):
        raise _invalid("each of write_files must be a mapping with a path")
    path = _text(entry.get("path"), "write_files.path")
    data = base64.b64encode(_content(entry)).decode()
    target = shlex.quote(path)
    lines = [
        f'mkdir -p "$(dirname {target})"',
        f"echo {data} | base64 -d {'>>' if entry.get('append') else '>'} {target}",
    ]
    if "permissions" in entry:
        lines.append(f"chmod {shlex.quote(_text(entry['permissions'], 'write_files.permissions'))} {target}")
    if "owner" in entry:
        lines.append(f"chown {shlex.quote(_text(entry['owner'], 'write_files.owner'))} {target}")
    return lines


def _content(entry: Mapping[Any, Any]) -> bytes:
    content = entry.get("content", "")
    encoding = str(entry.get("encoding", "text/plain"))
    if encoding in ("b64", "base64"):
        try:
            return base64.b64decode(_text(content, "write_files.content"), validate=False)
        except binascii.Error as error:
            raise _invalid(f"write_files.content is not base64: {error}") from error
    if encoding != "text/plain":
        raise _invalid(f"write_files.encoding {encoding!r} is not known here; text/plain and base64 are")
    return _text(content, "write_files.content").encode()


def _commands(key: str) -> Callable[[Any], list[str]]:
    def translate(value: Any) -> list[str]:
        commands = _list(value, key)
        # Like cloud-init: a string is a line for the shell, a list the words of one command.
        return [shlex.join(map(str, command)) if isinstance(command, list) else str(command) for command in commands]

    return translate


# In the order in which cloud-init would apply them.
_KEYS: Mapping[str, Callable[[Any], list[str]]] = {
    "bootcmd": _commands("bootcmd"),
    "hostname": _hostname,
    "chpasswd": _passwords,
    "write_files": _files,
    "ssh_authorized_keys": _keys,
    "runcmd": _commands("runcmd"),
}


def _list(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise _invalid(f"{key} must be a list")
    return value


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise _invalid(f"{key} must be text; put it in quotes")
    return value


def _invalid(why: str) -> InvalidInput:
    return InvalidInput(
        "The user-data is not a usable cloud-config",
        why=f"In detail: {why}",
        todo="Correct it; `cloud-init schema --config-file FILE` checks it elsewhere",
        code="invalid-user-data",
        fields={"user_data": why},
    )
