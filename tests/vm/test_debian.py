"""The image that people meet first: cloud-init's promises, every firmware and board, and disks that users bring."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from passlib.hash import sha512_crypt  # type: ignore[import-untyped]

from insula.base.errors import InsulaError
from insula.client import Client
from insula.control.actions.root_password import with_root_password
from tests.private_service import PrivateService

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1200)]

_USER_DATA = """#cloud-config
users:
  - default
  - name: bob
    sudo: ALL=(ALL) NOPASSWD:ALL
write_files:
  - path: /etc/greeting
    content: hello
    permissions: '0640'
runcmd:
  - [sh, -c, 'id -un > /root/ran']
"""


@pytest.fixture(scope="module")
def service() -> Iterator[PrivateService]:
    with PrivateService("qemu", images=("tiny", "debian-12")) as service:
        yield service


@pytest.fixture
def client(service: PrivateService) -> Iterator[Client]:
    with service.client(timeout_s=120) as client:
        yield client
        for one in client.instances.list():
            client.operations.wait(client.instances.delete(one.id).id, timeout_s=120)


def _create(client: Client, name: str, image: str, *, user_data: str = "", **options: str) -> None:
    operation = client.instances.create(name, image=image, plan="entry-1", user_data=user_data, options=options)
    client.operations.wait(operation.id, timeout_s=900)


def _inside(client: Client, name: str, command: str) -> str:
    done = client.guest.execute(name, ["sh", "-c", command], timeout_s=300)
    assert done.exit_code == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_user_data_takes_effect_and_the_system_is_sound(client: Client) -> None:
    _create(client, "seeded", "debian-12", user_data=with_root_password(_USER_DATA, "correct horse"))
    assert _inside(client, "seeded", "cloud-init status --wait").endswith("status: done")
    assert _inside(client, "seeded", "cat /etc/greeting; stat -c %a /etc/greeting") == "hello640"
    assert _inside(client, "seeded", "cat /root/ran") == "root"
    assert _inside(client, "seeded", "sudo -u bob sudo -n id -u") == "0"
    assert _inside(client, "seeded", "hostname") == "seeded"
    assert sha512_crypt.verify("correct horse", _inside(client, "seeded", "grep ^root: /etc/shadow").split(":")[1])
    assert _inside(client, "seeded", "systemctl is-system-running --wait") == "running"
    total_kib = int(_inside(client, "seeded", "df --output=size / | tail -1"))
    assert total_kib > 23 * 2**20, "the root file system fills the plan's 25 GiB"


@pytest.mark.parametrize("image", ["tiny", "debian-12"])
def test_uefi_is_really_uefi(client: Client, image: str) -> None:
    _create(client, "efi", image, firmware="uefi")
    assert "config_table" in _inside(client, "efi", "ls /sys/firmware/efi")


@pytest.mark.parametrize("image", ["tiny", "debian-12"])
def test_microvm_has_no_pci(client: Client, image: str) -> None:
    _create(client, "micro", image, machine_type="microvm")
    assert _inside(client, "micro", "ls /sys/bus/pci/devices 2>/dev/null | wc -l") == "0"


@pytest.mark.parametrize("file_system", ["ext4", "xfs"])
def test_volumes_are_found_by_their_names_and_grow(client: Client, file_system: str) -> None:
    _create(client, "store", "debian-12")
    place = f"/dev/disk/by-id/scsi-0Insula_Volume_{file_system}-data"
    made = client.volumes.create(f"{file_system}-data", 1, file_system=file_system, attach_to="store")
    client.operations.wait(made.id, timeout_s=120)
    _inside(client, "store", f"timeout 60 sh -c 'until [ -e {place} ]; do sleep 0.2; done' && mount {place} /srv")
    assert _inside(client, "store", "findmnt -no FSTYPE,LABEL /srv").split() == [file_system, f"{file_system}-data"]
    grown = client.operations.wait(client.volumes.grow(f"{file_system}-data", 3).id, timeout_s=120)
    assert grown.result == {"size_gib": 3, "grown": ["/srv"], "todo": ""}
    assert int(_inside(client, "store", "df --output=size -m /srv | tail -1")) > 2700
    resized = client.operations.wait(client.instances.resize("store", disk_gib=30, disk_iops=900).id, timeout_s=120)
    assert resized.result == {"rebooted": False, "grown": ["/"], "todo": ""}
    assert int(_inside(client, "store", "df --output=size -m / | tail -1")) > 28 * 1024
    _inside(client, "store", "umount /srv")
    client.operations.wait(client.volumes.detach(f"{file_system}-data").id, timeout_s=120)
    _inside(client, "store", f"timeout 60 sh -c 'while [ -e {place} ]; do sleep 0.2; done'")
    client.operations.wait(client.volumes.delete(f"{file_system}-data").id, timeout_s=120)


def test_a_disk_that_a_user_brings_is_checked_and_kept(service: PrivateService, client: Client) -> None:
    good, secret, bad = (service.top / name for name in ("good.qcow2", "secret", "bad.qcow2"))
    secret.write_bytes(b"host secret" * 100)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(good), "64M"], check=True)
    create_bad = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", str(secret), "-F", "raw", str(bad), "64M"]
    subprocess.run(create_bad, check=True)

    client.operations.wait(client.images.import_file("mine", str(good), image_format="qcow2").id, timeout_s=120)
    assert client.images.get("mine").state == "ready"
    client.operations.wait(client.images.delete("mine").id, timeout_s=60)

    with pytest.raises(InsulaError, match="backing"):
        client.operations.wait(client.images.import_file("theirs", str(bad), image_format="qcow2").id, timeout_s=120)
    assert "theirs" not in {image.name for image in client.images.list()}
