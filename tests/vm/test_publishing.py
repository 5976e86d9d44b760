"""An image of a tiny guest on real QEMU: what the guest made is in it; what was its own is not, nor in free space."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from insula.domain.ids import Kind, new_id
from insula.node.agent import Node
from insula.protocol.node import InstanceSpec

from .life import processes_of
from .test_fork import booted, child_of, file_system_is_sound, identity, opened, parent_spec, shell
from .test_identity import assert_nothing_shared

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

_SECRET = "a-secret-of-the-first-instance"
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGihrpT22+K63uRJhB+YFpOBBCOPoNY8mq6XHCwEWrDG"
_FILL = f"""
mkdir -p /home/ada/.ssh /var/log/journal/0123 /var/lib/cloud/instances
echo 'ada:x:1000:1000::/home/ada:/bin/sh' >> /etc/passwd
echo '{_KEY} ada@laptop' > /home/ada/.ssh/authorized_keys
echo 'ssh-ed25519 AAAAothers other' >> /home/ada/.ssh/authorized_keys
for file in /root/.ash_history /home/ada/.bash_history /var/log/journal/0123/system.journal /var/log/app.log \
    /var/log/app.log.1 /var/lib/cloud/instances/user-data.txt /var/tmp/file; do
    echo {_SECRET} > $file
done
echo made > /root/marker
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="insula-vm-", dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


async def published(node: Node, spec: InstanceSpec) -> tuple[str, Path]:
    snapshot_id, image_id = new_id(Kind.SNAPSHOT), new_id(Kind.IMAGE)
    await node.take_snapshot(spec.id, snapshot_id, False)
    await node.publish_image(image_id, "Mine", snapshot_id, lambda _message, _percent=-1: None)
    await node.remove_snapshot(snapshot_id)
    (folder,) = (node._parts.folder / "images" / image_id).iterdir()
    return image_id, folder


async def test_an_image_has_what_was_made_and_nothing_of_whose_it_was(home: Path) -> None:
    spec = replace(parent_spec(home), ssh_keys=(_KEY,), user_data="")
    async with opened(home) as node:
        child = child_of(spec, 1)
        try:
            await booted(node, spec)
            await shell(node, spec, _FILL)
            host_key = await shell(node, spec, "base64 -w0 /etc/dropbear/dropbear_ed25519_host_key")
            machine_id = await shell(node, spec, "cat /etc/machine-id")
            image_id, folder = await published(node, spec)
            assert await shell(node, spec, "cat /root/.ash_history") == _SECRET, "the instance keeps all"
            raw = home / "raw"
            _convert(folder / "disk.qcow2", raw)
            content = raw.read_bytes()
            raw.unlink()
            assert b"made\n" in content
            for own in (_SECRET, machine_id, spec.id, _KEY.split()[1]):
                assert own.encode() not in content, own
            await file_system_is_sound(folder / "disk.qcow2", home)

            child = replace(child, image=image_id, ssh_keys=())
            await booted(node, child)
            assert await shell(node, child, "cat /root/marker") == "made"
            assert await shell(node, child, "hostname") == child.hostname
            assert await shell(node, child, "cat /home/ada/.ssh/authorized_keys") == "ssh-ed25519 AAAAothers other"
            gone = "/root/.ash_history /home/ada/.bash_history /var/log/app.log.1 /var/tmp/file"
            left = f"cat {gone} 2> /dev/null; ls -A /var/log/journal; cat /var/log/app.log"
            assert await shell(node, child, left) == ""
            assert await shell(node, child, "base64 -w0 /etc/dropbear/dropbear_ed25519_host_key") != host_key
            assert_nothing_shared([await identity(node, one) for one in (spec, child)])
        finally:
            for one in (spec, child):
                await node.forget(one.id)
        assert processes_of(home) == []


def _convert(disk: Path, raw: Path) -> None:
    command = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(disk), str(raw)]
    subprocess.run(command, check=True, timeout=120)
