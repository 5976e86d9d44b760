"""Bundles: sizes by their ids, each with the limits of one of our plans, and our plans themselves."""

from __future__ import annotations

from typing import Any

from insula.domain.plan import PLANS
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail.dialect import New, answer, operation, page
from insula.frontends.dialects.offer import Offer, Size

# Name, memory in GiB, disk in GiB, processors (in the second generation, and in the third), and the plan.
_POWERS = (
    ("nano", 0.5, 20, (1, 2), "micro-2"),
    ("micro", 1, 40, (1, 2), "entry-1"),
    ("small", 2, 60, (1, 2), "entry-2"),
    ("medium", 4, 80, (2, 2), "middle-2"),
    ("large", 8, 160, (2, 2), "middle-4"),
    ("xlarge", 16, 320, (4, 4), "high-4"),
    ("2xlarge", 32, 640, (8, 8), "high-8"),
)


def _generation(suffix: str, place: int, *, offered: bool) -> list[Size]:
    return [
        Size(f"{name}_{suffix}", name.capitalize(), vcpus[place], int(gib * 1024), disk, plan, offered)
        for name, gib, disk, vcpus, plan in _POWERS
    ]


OFFER = Offer(
    (
        *_generation("3_0", 1, offered=True),
        *_generation("2_0", 0, offered=False),
        *(Size(plan.name, plan.name, plan.vcpus, plan.memory_mib, plan.disk_gib, plan.name) for plan in PLANS.values()),
    ),
    "bundleId",
)


class _Wish(New):
    include_inactive: bool = False
    app_category: str = ""


def _view(size: Size) -> dict[str, Any]:
    """There are no prices on one's own host, and nothing is counted against a transfer."""
    return {
        "price": 0.0,
        "cpuCount": size.vcpus,
        "diskSizeInGb": size.disk_gib,
        "bundleId": size.slug,
        "instanceType": size.plan,
        "isActive": size.offered,
        "name": size.description,
        "power": size.memory_mib,
        "ramSizeInGb": size.memory_mib / 1024,
        "transferPerMonthInGb": 0,
        "supportedPlatforms": ["LINUX_UNIX"],
        "supportedAppCategories": [],
        "publicIpv4AddressCount": 1,
    }


@operation("GetBundles")
async def get_bundles(ask: Ask) -> Answer:
    wish = ask.read(_Wish)
    found = [size for size in OFFER.sizes if size.offered or wish.include_inactive]
    places = {size.slug: f"{place:03}" for place, size in enumerate(OFFER.sizes)}
    shown, more = page(ask, [] if wish.app_category else found, lambda size: places[size.slug])
    return answer(bundles=[_view(size) for size in shown], **more)
