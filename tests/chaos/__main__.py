"""`./test --chaos --image tiny --rounds 20 --parallel 10`: exits 0 when nothing was orphaned, lost or interrupted."""

from __future__ import annotations

import argparse
import sys
import time

from tests.chaos.orphans import processes_of
from tests.chaos.rounds import Plan, Rounds, Tally
from tests.private_service import PrivateService

# How long all creates of a round take at most, and how long the kill may wait, per image.
_PACE = {"tiny": (12.0, 600.0), "debian-12": (60.0, 1800.0)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="./test --chaos", description=__doc__)
    parser.add_argument("--image", default="tiny")
    parser.add_argument("--plan", default="", help="default: one whole processor, so that boots are quick")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--parallel", type=int, default=10)
    parser.add_argument("--witnesses", type=int, default=2, help="instances that run through all rounds")
    parser.add_argument("--driver", default="qemu", choices=["qemu", "fake"])
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="keep the folder for a look at it")
    given = parser.parse_args()
    kill_within_s, settle_timeout_s = _PACE.get(given.image, _PACE["debian-12"])
    plan = Plan(
        image=given.image,
        plan=given.plan or "entry-1",
        rounds=given.rounds,
        parallel=given.parallel,
        witnesses=given.witnesses,
        kill_within_s=1.0 if given.driver == "fake" else kill_within_s,
        settle_timeout_s=settle_timeout_s,
        seed=given.seed,
    )
    # The point is to have many at once on a small machine, so promise more than it has.
    service = PrivateService(given.driver, {"INSULA_OVERCOMMIT_VCPU": "100", "INSULA_OVERCOMMIT_DISK": "100"})
    print(f"{given.rounds} rounds of {given.parallel} creates of {given.image}, seed {given.seed}, in {service.home}")
    try:
        tally = _run(service, plan)
    finally:
        left = processes_of(service.home)
        if not given.keep and not left:
            service.remove()
    for line in [*tally.orphans, *tally.lost, *tally.uptime_breaks]:
        print(f"  {line}")
    print(
        f"created {tally.created}, refused by the kill {tally.refused}, "
        f"slowest start after a kill {tally.slowest_recovery_s:.1f} s"
    )
    print(tally)
    return 0 if tally.clean else 1


def _run(service: PrivateService, plan: Plan) -> Tally:
    service.start()
    with service.client() as client:
        began = time.monotonic()
        client.operations.wait(client.images.prepare(plan.image).id, timeout_s=1800)
        print(f"image {plan.image} ready after {time.monotonic() - began:.1f} s", flush=True)
    return Rounds(service, plan).run()


if __name__ == "__main__":
    sys.exit(main())
