"""The same wish in other words: for the command line, curl, Python and Terraform."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

_FILE = "user-data.txt"


@dataclass(frozen=True)
class Line:
    """What one would type instead, and where."""

    title: str
    text: str


def lines_of(body: dict[str, Any], names: tuple[str, ...], origin: str) -> tuple[Line, ...]:
    """For a body of `POST /v1/instances` without its name, once for each of `names`."""
    return (
        Line("Command line", "\n".join(_cli(name, body) for name in names)),
        Line("curl", "\n".join(_curl({"name": name, **body}, origin) for name in names)),
        Line("Python", _python(names, body)),
        Line("Terraform", _terraform(names, body, origin)),
    )


def _cli(name: str, body: dict[str, Any]) -> str:
    words = ["insula", "create", name or "NAME"]
    for option in ("image", "plan", "network", "snapshot"):
        if body.get(option):
            words += [f"--{option}", str(body[option])]
    for key in body.get("ssh_keys", ()):
        words += ["--key", "KEY.pub" if " " in key else key]
    for tag in body.get("tags", ()):
        words += ["--tag", tag]
    if body.get("user_data"):
        words += ["--user-data", _FILE]
    if body.get("backup"):
        words = ["insula", "backup", "restore", str(body["backup"]), "--as", name or "NAME"]
    return shlex.join(words)


def _curl(body: dict[str, Any], origin: str) -> str:
    return (
        f"curl -X POST {shlex.quote(f'{origin}/v1/instances')} \\\n"
        '  -H "Authorization: Bearer $INSULA_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(json.dumps(body))}"
    )


def _python(names: tuple[str, ...], body: dict[str, Any]) -> str:
    keywords = "".join(f", {name}={value!r}" for name, value in body.items())
    made = "\n".join(f"client.instances.create({name!r}{keywords})" for name in names)
    return f"from insula import Client\n\nclient = Client()\n{made}"


def _terraform(names: tuple[str, ...], body: dict[str, Any], origin: str) -> str:
    provider = f'provider "digitalocean" {{\n  api_endpoint = {_hcl(f"{origin}/digitalocean")}\n}}\n'
    return provider + "".join(f"\n{_resource(name or 'NAME', body)}" for name in names)


def _resource(name: str, body: dict[str, Any]) -> str:
    rows = [("name", _hcl(name)), ("image", _hcl(body.get("image", ""))), ("size", _hcl(body.get("plan", "")))]
    rows.append(("region", _hcl("nyc3")))
    if body.get("tags"):
        rows.append(("tags", f"[{', '.join(_hcl(tag) for tag in body['tags'])}]"))
    if body.get("user_data"):
        rows.append(("user_data", f'file("{_FILE}")'))
    label = "".join(each if each.isalnum() else "_" for each in name)
    width = max(len(key) for key, _ in rows)
    listed = "".join(f"  {key.ljust(width)} = {value}\n" for key, value in rows)
    return f'resource "digitalocean_droplet" "{label}" {{\n{listed}}}\n'


def _hcl(text: str) -> str:
    """A string of Terraform's language, in which `${` and `%{` begin templates."""
    return json.dumps(text).replace("${", "$${").replace("%{", "%%{")
