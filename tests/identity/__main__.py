"""`./test identity --forks 50`: many copies of one guest, and what more than one has. Exits 0 when it is nothing."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from insula.client import Client
from tests.identity.questions import COMMON, OF_IMAGE, answers, duplicates, script
from tests.private_service import PrivateService

_PLAN = "entry-1"


def main() -> int:
    parser = argparse.ArgumentParser(prog="./test identity", description=__doc__)
    parser.add_argument("--forks", type=int, default=50, help="copies in all")
    parser.add_argument("--image", default="tiny", choices=sorted(OF_IMAGE))
    parser.add_argument("--batch", type=int, default=5, help="copies that run at once")
    given = parser.parse_args()
    with PrivateService("qemu") as service, service.client(timeout_s=600) as client:
        began = time.monotonic()
        told = list(from_template(client, given.image, given.forks, given.batch))
        took_s = time.monotonic() - began
    shared = duplicates(told)
    print(f"{len(told)} copies of {given.image} in {took_s:.0f} s, {given.batch} at a time")
    for name, count in shared.items():
        print(f"{name}: {count} duplicates")
    return 0 if len(told) == given.forks and not any(shared.values()) else 1


def from_template(client: Client, image: str, count: int, batch: int) -> Iterator[dict[str, str]]:
    """What instances answer that go on from one template."""
    client.operations.wait(client.images.prepare(image).id, timeout_s=1800)
    client.operations.wait(client.images.warm(image, plan=_PLAN).id, timeout_s=600)
    for first in range(0, count, batch):
        numbers = range(first, min(count, first + batch))
        operations = [client.instances.create(f"copy-{number}", image=image, plan=_PLAN) for number in numbers]
        for operation in operations:
            done = client.operations.wait(operation.id, timeout_s=600)
            phases = [phase.name for phase in client.instances.get(done.target).boot_phases]
            assert phases[0] == "renew", f"{done.target_name} did not come from the template: {phases}"
            yield ask(client, done.target, image)
        for operation in [client.instances.delete(operation.target) for operation in operations]:
            client.operations.wait(operation.id, timeout_s=300)


def ask(client: Client, instance: str, image: str) -> dict[str, str]:
    """What one copy answers to all questions."""
    questions = COMMON | OF_IMAGE[image]
    done = client.guest.execute(instance, ["/bin/sh", "-c", script(questions)], timeout_s=120)
    return answers(list(questions), done.stdout.decode("utf-8", "replace"))


if __name__ == "__main__":
    sys.exit(main())
