"""The small disk from which a guest learns who it is at its first boot.

It is a NoCloud seed (an ISO 9660 file system labelled `cidata`, see cloud-init's NoCloud data source) and carries the
same facts once more as plain files under `insula/`, which a few lines of shell can read without a YAML parser.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pycdlib

from insula.base.errors import InvalidInput
from insula.base.files import write_atomic
from insula.node.storage.atomic import replacing
from insula.node.storage.backend import SeedContents
from insula.node.storage.identity import new_identity
from insula.node.storage.user_script import first_boot_script

VOLUME = "cidata"
MAX_USER_DATA_BYTES = 1 << 20
# All seeds are of one length, since a running guest that gets another's seed keeps the size of the one it saw.
SEED_BYTES = 8 << 20
# A running guest has it mounted, and only its root may read keys and secrets there.
_FILE_MODE = 0o100400
_FOLDER_MODE = 0o040500

# Matches every Ethernet card, whatever the kernel calls it.
_DHCP = {"version": 2, "ethernets": {"nic": {"match": {"name": "e*"}, "dhcp4": True, "dhcp6": True}}}


def seed_files(contents: SeedContents) -> dict[str, bytes]:
    """Path → bytes of everything in the seed; without an identity of its own, one that no other seed has.

    Raises :class:`InvalidInput` for user-data over 1 MiB or a cloud-config that is none.
    """
    user_data = contents.user_data.encode()
    if len(user_data) > MAX_USER_DATA_BYTES:
        raise InvalidInput(
            "The user-data is too long",
            why=f"It has {len(user_data)} bytes; a seed holds {MAX_USER_DATA_BYTES}",
            todo="Let a short script fetch the rest",
            code="user-data-too-long",
            fields={"user_data": f"at most {MAX_USER_DATA_BYTES} bytes"},
        )
    meta: dict[str, Any] = {
        "instance-id": contents.instance_id,
        "local-hostname": contents.hostname,
        "public-keys": list(contents.ssh_keys),
    }
    identity = contents.identity or new_identity()
    key = identity.host_key
    files = {
        # JSON is YAML, and needs no quoting rules of our own.
        "meta-data": _json(meta),
        "user-data": user_data if user_data.strip() else b"#cloud-config\n{}\n",
        "network-config": contents.network.encode() if contents.network.strip() else _json(_DHCP),
        "insula/instance-id": f"{contents.instance_id}\n".encode(),
        "insula/hostname": f"{contents.hostname}\n".encode(),
        "insula/authorized_keys": "".join(f"{key}\n" for key in contents.ssh_keys).encode(),
        "insula/machine-id": f"{identity.machine_id}\n".encode(),
        "insula/ssh_host_ed25519_key": key.openssh,
        "insula/ssh_host_ed25519_key.pub": f"{key.public} root@{contents.hostname.partition('.')[0]}\n".encode(),
        "insula/dropbear_ed25519_host_key": key.dropbear,
    }
    if user_data.strip():
        files["insula/user-data"] = user_data
    if script := first_boot_script(contents.user_data):
        files["insula/first-boot.sh"] = script.encode()
    return files


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def write_seed(path: Path, contents: SeedContents, uid: int | None = None) -> None:
    """Write the seed, mode 0600 (user-data may hold secrets), `SEED_BYTES` long, mostly a hole. May be repeated.

    Raises what :func:`seed_files` raises, and :class:`InvalidInput` when all together is too long.
    """
    image = _image(contents)
    with replacing(path, mode=0o600, uid=uid) as temporary:
        write_atomic(temporary, image)
        os.truncate(temporary, SEED_BYTES)


def rewrite_seed(path: Path, contents: SeedContents) -> None:
    """Write a seed over one that a machine has open, whose guest must not have it mounted. May be repeated.

    Raises as :func:`write_seed`; killed in the middle, it leaves a seed that has to be written again.
    """
    image = _image(contents)
    with path.open("r+b") as file:
        file.write(image)
        file.truncate()
        file.truncate(SEED_BYTES)
        file.flush()
        os.fsync(file.fileno())


def _image(contents: SeedContents) -> bytes:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=VOLUME)
    try:
        iso.add_directory("/INSULA", rr_name="insula", joliet_path="/insula", file_mode=_FOLDER_MODE)
        for number, (name, data) in enumerate(seed_files(contents).items()):
            folder = "/INSULA" if "/" in name else ""
            iso.add_fp(
                io.BytesIO(data),
                len(data),
                f"{folder}/F{number}.;1",
                rr_name=name.rpartition("/")[2],
                joliet_path=f"/{name}",
                file_mode=_FILE_MODE,
            )
        image = io.BytesIO()
        iso.write_fp(image)
    finally:
        iso.close()
    _check_length(image)
    return image.getvalue()


def _check_length(image: io.BytesIO) -> None:
    if (length := image.getbuffer().nbytes) > SEED_BYTES:
        raise InvalidInput(
            "The instance's first-boot data is too long",
            why=f"Its keys, user-data and network configuration take {length} bytes; a seed holds {SEED_BYTES}",
            todo="Use fewer keys or shorter user-data",
            code="seed-too-long",
        )
