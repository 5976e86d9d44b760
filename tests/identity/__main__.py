"""`./test identity --forks 50`: many copies of one guest, and what more than one has. Exits 0 when it is nothing."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from insula.client import Client
from tests.identity.questions import (
    ALIVE,
    ALIVE_AT,
    COMMON,
    OF_ALIVE,
    OF_IMAGE,
    START_ALIVE,
    answers,
    duplicates,
    script,
)
from tests.private_service import PrivateService

_PLAN = "entry-1"
_ALIVE_S = 10.0  # that a Python takes to import what it is to be asked of, emulated and on a busy host


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./test identity", description=__doc__)
    parser.add_argument("--forks", type=int, default=50, help="copies in all")
    parser.add_argument("--image", default="debian-12", choices=sorted(OF_IMAGE))
    parser.add_argument("--of", default="running", choices=["running", "template"], help="what they are copies of")
    parser.add_argument("--batch", type=int, default=5, help="copies that run at once")
    given = parser.parse_args(arguments)
    extra = {"INSULA_OVERCOMMIT_VCPU": "100", "INSULA_OVERCOMMIT_DISK": "100"}
    images = (given.image,)
    with PrivateService("qemu", extra, images=images) as service, service.client(timeout_s=600) as client:
        make = {"running": of_running, "template": of_template}[given.of]
        began = time.monotonic()
        told = list(make(client, given.image, given.forks, given.batch))
        took_s = time.monotonic() - began
    shared = duplicates(told)
    print(f"{len(told)} copies of a {given.of} {given.image} in {took_s:.0f} s, {given.batch} at a time")
    for name, count in shared.items():
        print(f"{name}: {count} duplicates")
    return 0 if len(told) == given.forks and not any(shared.values()) else 1


def of_running(client: Client, image: str, count: int, batch: int) -> Iterator[dict[str, str]]:
    """What forks of one running instance answer; in Debian with a process in it that has them draw random numbers."""
    parent = client.operations.wait(client.instances.create("parent", image=image, plan=_PLAN).id, timeout_s=600).target
    questions = COMMON | OF_IMAGE[image]
    if image == "debian-12":
        questions |= OF_ALIVE
        client.guest.write_file(parent, ALIVE_AT, [ALIVE.read_bytes()])
        client.guest.execute(parent, ["/bin/sh", "-c", START_ALIVE], timeout_s=60)
        time.sleep(_ALIVE_S)
    for first in range(0, count, batch):
        wanted = min(batch, count - first)
        names = [f"fork-{number}" for number in range(first, first + wanted)]
        done = client.operations.wait(client.instances.fork(parent, count=wanted, names=names).id, timeout_s=600)
        assert done.result is not None
        children = [child["id"] for child in done.result["children"]]
        assert len(children) == wanted, done.result
        for child in children:
            yield ask(client, child, questions)
        delete(client, children)


def of_template(client: Client, image: str, count: int, batch: int) -> Iterator[dict[str, str]]:
    """What instances answer that go on from one template."""
    client.operations.wait(client.images.warm(image, plan=_PLAN).id, timeout_s=600)
    for first in range(0, count, batch):
        numbers = range(first, min(count, first + batch))
        operations = [client.instances.create(f"copy-{number}", image=image, plan=_PLAN) for number in numbers]
        for operation in operations:
            done = client.operations.wait(operation.id, timeout_s=600)
            phases = [phase.name for phase in client.instances.get(done.target).boot_phases]
            assert phases[0] == "renew", f"{done.target_name} did not come from the template: {phases}"
            yield ask(client, done.target, COMMON | OF_IMAGE[image])
        delete(client, [operation.target for operation in operations])


def ask(client: Client, instance: str, questions: Mapping[str, str]) -> dict[str, str]:
    """What one copy answers to all questions."""
    done = client.guest.execute(instance, ["/bin/sh", "-c", script(questions)], timeout_s=120)
    return answers(list(questions), done.stdout.decode("utf-8", "replace"))


def delete(client: Client, instances: Sequence[str]) -> None:
    for operation in [client.instances.delete(instance) for instance in instances]:
        client.operations.wait(operation.id, timeout_s=300)


if __name__ == "__main__":
    sys.exit(main())
