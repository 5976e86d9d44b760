"""From nothing to a root command over SSH, cold: `insula create` beside virt-install, in turns on one image."""

from __future__ import annotations

import statistics
import time

from bench.guest import image_files, make_key, wait_for_root
from bench.measure import Row, at_most, spread
from bench.virt_install import Libvirt, missing_programs
from insula.client import Client
from tests.private_service import PrivateService, free_port

_IMAGE = "debian-12"
_PLAN = "entry-2"
_PAIRS = 5
_USER_DATA = "#cloud-config\nwrite_files:\n  - path: /root/bench\n    content: made by cloud-init\n"


def measure() -> list[Row]:
    """Five pairs without user-data, three cold boots with it."""
    with PrivateService("qemu") as service, service.client(timeout_s=600) as client:
        client.operations.wait(client.images.prepare(_IMAGE).id, timeout_s=3600)
        key = make_key(service.top)
        public_key = key.with_suffix(".pub").read_text().strip()

        def ours(number: int, user_data: str = "") -> float:
            """Seconds from the request to root's answer over SSH; the instance is deleted again."""
            began = time.monotonic()
            operation = client.instances.create(
                f"cold-{number}", image=_IMAGE, plan=_PLAN, ssh_keys=[public_key], user_data=user_data
            )
            wait_for_root(_ssh_port(client, operation.target), key)
            took_s = time.monotonic() - began
            client.operations.wait(operation.id, timeout_s=600)
            client.operations.wait(client.instances.delete(operation.target).id, timeout_s=120)
            return took_s

        if missing := missing_programs():
            alone = [ours(number) for number in range(_PAIRS)]
            pairs = [Row("cold create beside virt-install", "not measured", "≤ 1", None, f"needs {', '.join(missing)}")]
        else:
            alone, pairs = [], []
            image = image_files(service.home, _IMAGE)
            theirs = []
            with Libvirt() as libvirt:
                for number in range(_PAIRS):
                    alone.append(ours(number))
                    port, began = free_port(), time.monotonic()
                    libvirt.launch(image, key.with_suffix(".pub"), port)
                    wait_for_root(port, key)
                    theirs.append(time.monotonic() - began)
                    libvirt.destroy()
            ratio = statistics.median(a / b for a, b in zip(alone, theirs, strict=True))
            pairs = [
                Row("virt-install, same image and accelerator", spread(theirs, "s", 1)),
                Row("ratio ours / virt-install", f"{ratio:.2f}", "≤ 1", ratio <= 1, f"{_PAIRS} pairs in turns"),
            ]
        seeded = [ours(100 + number, _USER_DATA) for number in range(3)]
    return [
        at_most(f"cold create → root over SSH, {_IMAGE}", alone, 20, "s"),
        *pairs,
        at_most(f"cold create → root over SSH, {_IMAGE}, with user-data", seeded, 45, "s"),
    ]


def _ssh_port(client: Client, instance: str) -> int:
    port = client.instances.get(instance).ssh_port
    if port is None:
        raise AssertionError("the instance has no forward to port 22")
    return port
