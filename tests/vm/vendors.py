"""Lives of real guests by other vendors' own clients, up to a login over SSH from another machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insula.domain.access import Scope
from insula.domain.operation import Verb
from tests.private_service import PrivateService
from tests.vm.test_reserved_addresses import Segment

POOL = "192.0.2.64-192.0.2.70"
FIRST_OF_POOL = "192.0.2.64"


def service_in(segment: Segment) -> PrivateService:
    """One whose guests go out through the host, from which the neighbour sees them."""
    made = PrivateService("qemu", {"INSULA_ACCELERATOR": "tcg", "INSULA_NETWORK": "auto"}, images=("tiny",))
    made.within = segment.host
    return made


def login(segment: Segment, address: str, key: Path, command: str) -> str:
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=30"]
    argv = [*segment.neighbour, "ssh", "-q", "-i", str(key), *options, f"root@{address}", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=90, check=True).stdout.strip()


def lives(
    segment: Segment,
    service: PrivateService,
    folder: Path,
    life: str,
    *,
    environment: Mapping[str, str],
    command: str = "hostname",
) -> tuple[str, list[Any]]:
    """Run a client's program on the host: what a command in its guest says, and what itself tells between two logins.

    The program gets a public key, a token, and the id and secret of the key that signs in its name. It prints the
    guest's address, goes on after a line of input, prints what it sees, goes on after another one, deletes everything
    and prints `gone`.
    """
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
    with service.client() as client:
        client.addresses.add_pool("lan", POOL)
        made = client.tokens.create("vendor", [Scope.ADMIN])
    public = key.with_suffix(".pub").read_text().strip()
    with subprocess.Popen(
        [*segment.host, sys.executable, "-c", life, public, made.secret, made.key_id, made.key_secret],
        env={"PATH": "/usr/bin:/bin", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address == FIRST_OF_POOL
        said = login(segment, address, key, command)
        process.stdin.write("\n")
        process.stdin.flush()
        told = json.loads(process.stdout.readline())
        assert login(segment, address, key, command) == said
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == "gone"
    assert process.returncode == 0
    _nothing_is_left(service)
    return said, told


def _nothing_is_left(service: PrivateService) -> None:
    with service.client() as client:
        for operation in client.operations.list(verb=Verb.DELETE_INSTANCE):
            client.operations.wait(operation.id, timeout_s=120)
        assert client.addresses.list() == []
        client.addresses.delete_pool("lan")
