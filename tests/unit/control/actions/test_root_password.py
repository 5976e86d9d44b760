"""A root password comes with whatever user-data there is, as a hash."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml
from passlib.hash import sha512_crypt  # type: ignore[import-untyped]

from insula.base.errors import InvalidInput
from insula.control.actions.root_password import with_root_password

PASSWORD = "correct horse"


def config_of(user_data: str) -> dict[str, Any]:
    text = with_root_password(user_data, PASSWORD)
    assert text.startswith("#cloud-config\n")
    assert PASSWORD not in text
    config: dict[str, Any] = yaml.safe_load(text)
    (*_, root) = config["chpasswd"]["users"]
    assert (root["name"], root["type"]) == ("root", "hash")
    assert sha512_crypt.verify(PASSWORD, root["password"])
    return config


def test_alone() -> None:
    assert set(config_of("")) == {"chpasswd"}


def test_a_script_runs_as_before() -> None:
    script = "#!/bin/sh\necho 'ä' > /root/out\n"
    config = config_of(script)
    (file,) = config["write_files"]
    assert base64.b64decode(file["content"]).decode() == script
    assert config["runcmd"] == [[file["path"]]]


def test_a_cloud_config_keeps_what_it_has() -> None:
    given = "#cloud-config\npackages: [nginx]\nchpasswd:\n  users:\n  - {name: me, password: x, type: text}\n"
    config = config_of(given)
    assert config["packages"] == ["nginx"]
    assert [user["name"] for user in config["chpasswd"]["users"]] == ["me", "root"]


@pytest.mark.parametrize(
    ("user_data", "password"),
    [
        ("#include\nhttps://example.com\n", PASSWORD),
        ("", "short"),
        ("", "x" * 129),
        ("", "with\nlines"),
        ("no mark", PASSWORD),
    ],
)
def test_what_cannot_be(user_data: str, password: str) -> None:
    with pytest.raises(InvalidInput):
        with_root_password(user_data, password)
