"""The files of a NoCloud seed, and what is at the address as a whole."""

from __future__ import annotations

import json

from .example import KEYS, USER_DATA, Guest


def test_the_files_are_those_of_a_seed() -> None:
    assert json.loads(Guest().read("/meta-data")) == {
        "instance-id": "ins_1",
        "local-hostname": "web1.example",
        "public-keys": list(KEYS),
    }
    assert Guest().ask("/user-data").body == USER_DATA.encode()
    assert Guest().read("/vendor-data") == ""
    assert Guest().ask("/user-data", "PUT").status == 405


def test_the_root_lists_what_there_is() -> None:
    listed = Guest().read("/").splitlines()
    assert {"meta-data", "metadata/v1/", "v1/instance", "latest/"} <= set(listed)
    assert Guest().ask("/", "PUT").status == 405
    assert Guest().ask("/nothing").status == 404


def test_nothing_secret_is_told() -> None:
    paths = ("/meta-data", "/metadata/v1.json", "/latest/dynamic/instance-identity/document")
    told = "".join(Guest().read(path) for path in paths)
    assert "PRIVATE" not in told
    assert "machine-id" not in told
