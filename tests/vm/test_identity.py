"""Siblings that go on from one frozen memory are somebody of their own once they are renewed."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from insula.node.storage.library import ImageLibrary
from insula.node.storage.making import Maker
from insula.node.storage.recipes.debian import Debian12
from insula.node.storage.recipes.tiny import Tiny
from tests.images import lend
from tests.vm.siblings import Family, Sibling

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

QUESTIONS = {
    "machine-id": "cat /etc/machine-id",
    "host name": "hostname",
    "host file": "cat /etc/hosts",
    "MAC": "cat /sys/class/net/eth0/address",
    "link-local address": "until ip -6 addr show dev eth0 scope link | grep -o 'fe80[^/]*'; do sleep 0.1; done",
    "instance-id": "cat /var/lib/insula/instance-id",
    "boot-id": "cat /proc/sys/kernel/random/boot_id",
    "uuid": "cat /proc/sys/kernel/random/uuid",
    "random bytes": "head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n'",
}
QUESTIONS_OF_TINY = {"host key": "dropbearkey -y -f /etc/dropbear/dropbear_ed25519_host_key | grep ^ssh-"}

QUESTIONS_OF_DEBIAN = {
    "host key": "cat /etc/ssh/ssh_host_ed25519_key.pub",
    "shown host key": "ssh-keyscan -t ed25519 127.0.0.1 2> /dev/null | cut -d ' ' -f 2-",
    "OpenSSL's random bytes": "openssl rand -hex 16",
    "Python's random bytes": "python3 -c 'import random, uuid; print(random.getrandbits(128), uuid.uuid4())'",
    "DUID": "networkctl status eth0 | grep DUID",
    "journal": "until ls -d /var/log/journal/$(cat /etc/machine-id); do sleep 0.1; done",
}


@asynccontextmanager
async def frozen(maker: Maker, memory_mib: int) -> AsyncIterator[Family]:
    """A family whose template is frozen, in a folder that the machines' unprivileged users can enter."""
    home = Path(tempfile.mkdtemp(prefix="insula-test-", dir="/var/tmp"))
    home.chmod(0o711)
    try:
        await asyncio.to_thread(lend, home / "images", maker.facts.name)
        library = ImageLibrary(home / "images", [maker])
        await library.prepare(maker.facts.name, lambda message, percent=-1: None)
        family = Family(home, await library.bootable(maker.facts.name), memory_mib)
        try:
            await family.freeze()
            yield family
        finally:
            await family.close()
    finally:
        shutil.rmtree(home)


async def ask_renewed(one: Sibling, questions: dict[str, str]) -> dict[str, str]:
    """Renew it, see that it is who it shall be, and return its answers."""
    assert one.instance_id in (await one.renew()).split()
    asked_s = time.time()
    its_s = float(await one.run("date +%s"))  # cut to whole seconds, and set as late as a busy host let it be
    assert asked_s - 5 < its_s < time.time() + 1
    answers = {name: await one.run(script) for name, script in questions.items()}
    assert answers["instance-id"] == one.instance_id
    assert answers["host name"] == f"{one.spec.name}.example.org"
    assert answers["MAC"] == one.mac
    return answers


def assert_nothing_shared(answers: Sequence[dict[str, str]]) -> None:
    for name in answers[0]:
        told = [answer[name] for answer in answers]
        assert all(told), f"no {name}"
        assert len(set(told)) == len(told), f"siblings share their {name}: {told}"


async def all_different(family: Family, count: int, questions: dict[str, str]) -> list[int]:
    """Start siblings side by side, check that they share nothing; returns the milliseconds of each renewal."""
    async with AsyncExitStack() as stack:
        siblings = [await stack.enter_async_context(family.sibling()) for _ in range(count)]
        answers = [await ask_renewed(one, questions) for one in siblings]
        assert_nothing_shared(answers)
        return [one.renew_ms for one in siblings]


async def test_tiny_siblings_share_nothing() -> None:
    async with frozen(Tiny(), 128) as family:
        took_ms = await all_different(family, 5, QUESTIONS | QUESTIONS_OF_TINY)
        print("renewing tiny took", took_ms, "ms")  # noqa: T201 - measured for whoever runs it with -s


async def test_debian_siblings_share_nothing() -> None:
    async with frozen(Debian12(), 512) as family:
        took_ms = await all_different(family, 3, QUESTIONS | QUESTIONS_OF_DEBIAN)
        print("renewing debian-12 took", took_ms, "ms")  # noqa: T201 - measured for whoever runs it with -s
