from __future__ import annotations

import base64
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pycdlib
import pycdlib.dr
import pytest
import yaml

from insula.base.errors import InvalidInput
from insula.node.storage.backend import SeedContents
from insula.node.storage.identity import new_identity
from insula.node.storage.seed import SEED_BYTES, rewrite_seed, seed_files, write_seed

KEYS = ("ssh-ed25519 AAAA one@example", "ssh-ed25519 BBBB two")


def read_back(path: Path) -> dict[str, bytes]:
    """Every file, as the guest's kernel sees it through Rock Ridge."""
    iso = pycdlib.PyCdlib()
    iso.open(str(path))
    found = {}
    for folder, _, names in iso.walk(rr_path="/"):
        for name in names:
            data = io.BytesIO()
            iso.get_file_from_iso_fp(data, rr_path=f"{folder.rstrip('/')}/{name}")
            found[f"{folder.rstrip('/')}/{name}"] = data.getvalue()
    assert iso.pvd.volume_identifier.strip() == b"cidata"
    iso.close()
    return found


def test_the_seed_reads_back_as_written(tmp_path: Path) -> None:
    script = "#!/bin/sh\necho grüezi\n"
    write_seed(tmp_path / "seed.iso", SeedContents("ins_1", "web1.example.org", KEYS, script))
    files = read_back(tmp_path / "seed.iso")
    assert yaml.safe_load(files["/meta-data"]) == {
        "instance-id": "ins_1",
        "local-hostname": "web1.example.org",
        "public-keys": list(KEYS),
    }
    assert files["/user-data"].decode() == script
    assert yaml.safe_load(files["/network-config"])["ethernets"]["nic"]["dhcp4"] is True
    assert files["/insula/instance-id"] == b"ins_1\n"
    assert files["/insula/hostname"] == b"web1.example.org\n"
    assert files["/insula/authorized_keys"].decode().splitlines() == list(KEYS)
    assert files["/insula/user-data"].decode() == script


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    write_seed(tmp_path / "seed.iso", SeedContents("ins_1", "web1"))
    assert (tmp_path / "seed.iso").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["seed.iso"]


def test_in_the_guest_only_root_may_read_it(tmp_path: Path) -> None:
    write_seed(tmp_path / "seed.iso", SeedContents("ins_1", "web1", user_data="#!/bin/sh\npassword=secret\n"))
    iso: Any = pycdlib.PyCdlib()  # what get_record returns has more types than an ISO 9660 image has
    iso.open(str(tmp_path / "seed.iso"))
    files = read_back(tmp_path / "seed.iso")
    modes = {}
    for path in (*files, "/insula"):
        record = iso.get_record(rr_path=path)
        assert isinstance(record, pycdlib.dr.DirectoryRecord)
        assert record.rock_ridge is not None
        modes[path] = record.rock_ridge.get_file_mode()
    iso.close()
    assert len(modes) > 8
    assert {path: mode for path, mode in modes.items() if mode & 0o077} == {}


def test_one_that_is_open_is_rewritten_in_place_and_keeps_its_identity(tmp_path: Path) -> None:
    seed, identity = tmp_path / "seed.iso", new_identity()
    write_seed(seed, SeedContents("ins_1", "member", KEYS, "#!/bin/sh\n" + "true\n" * 1000, identity=identity))
    before = read_back(seed)
    with seed.open("rb") as held:
        for _ in range(2):
            rewrite_seed(seed, SeedContents("ins_1", "web1", KEYS[:1], identity=identity))
        assert held.read() == seed.read_bytes()
    after = read_back(seed)
    assert seed.stat().st_size == SEED_BYTES
    assert after["/insula/hostname"] == b"web1\n"
    assert "/insula/user-data" not in after
    for name in ("machine-id", "ssh_host_ed25519_key", "dropbear_ed25519_host_key"):
        assert after[f"/insula/{name}"] == before[f"/insula/{name}"]


def test_each_seed_has_its_own_host_key_and_machine_id(tmp_path: Path) -> None:
    seeds = [seed_files(SeedContents("ins_1", "web1.example.org")) for _ in range(2)]
    for name in ("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub", "dropbear_ed25519_host_key", "machine-id"):
        assert seeds[0][f"insula/{name}"] != seeds[1][f"insula/{name}"]
    assert re.fullmatch(rb"[0-9a-f]{32}\n", seeds[0]["insula/machine-id"])


def test_both_servers_are_given_the_same_host_key(tmp_path: Path) -> None:
    files = seed_files(SeedContents("ins_1", "web1.example.org"))
    private = tmp_path / "key"
    private.touch(mode=0o600)
    private.write_bytes(files["insula/ssh_host_ed25519_key"])
    derived = subprocess.run(["ssh-keygen", "-y", "-f", private], check=True, capture_output=True, timeout=30)
    kind, public, comment = files["insula/ssh_host_ed25519_key.pub"].decode().split()
    assert derived.stdout.decode().split() == [kind, public]
    assert comment == "root@web1"
    # dropbear's file: the kind and the key, each behind its length; the key is 32 secret bytes, then 32 public ones.
    dropbear = files["insula/dropbear_ed25519_host_key"]
    assert dropbear[:15] == b"\0\0\0\x0bssh-ed25519"
    assert dropbear[15:19] == (64).to_bytes(4, "big")
    assert dropbear[51:] == base64.b64decode(public)[-32:]


def test_writing_it_again_replaces_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_seed(tmp_path / "seed.iso", SeedContents("ins_1", name))
    assert read_back(tmp_path / "seed.iso")["/insula/hostname"] == b"two\n"


def test_all_seeds_have_one_length_and_take_little_room(tmp_path: Path) -> None:
    for name, user_data in (("short", ""), ("long", "#!/bin/sh\n" + "#" * 300_000)):
        write_seed(tmp_path / name, SeedContents("ins_1", name, user_data=user_data))
        assert (tmp_path / name).stat().st_size == SEED_BYTES
        assert (tmp_path / name).stat().st_blocks * 512 < SEED_BYTES // 2


def test_more_than_a_seed_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        write_seed(tmp_path / "seed.iso", SeedContents("i", "h", network="#" * (9 << 20)))
    assert caught.value.code == "seed-too-long"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("blank", ["", "\n", "  \n\t"])
def test_without_user_data_cloud_init_gets_an_empty_one_and_our_guests_none(blank: str) -> None:
    files = seed_files(SeedContents("ins_1", "web1", user_data=blank))
    assert yaml.safe_load(files["user-data"]) == {}
    assert files["user-data"].startswith(b"#cloud-config")
    assert "insula/user-data" not in files
    assert "insula/first-boot.sh" not in files


def test_a_given_network_configuration_is_passed_on() -> None:
    assert seed_files(SeedContents("i", "h", network="version: 1\n"))["network-config"] == b"version: 1\n"


def test_user_data_of_more_than_a_mebibyte_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        seed_files(SeedContents("i", "h", user_data="#" * (2 << 20)))
    assert caught.value.code == "user-data-too-long"


def test_meta_data_survives_any_character_in_a_key() -> None:
    keys = ('ssh-ed25519 AAAA "quoted": {x}',)
    assert json.loads(seed_files(SeedContents("i", "h", keys))["meta-data"])["public-keys"] == list(keys)
