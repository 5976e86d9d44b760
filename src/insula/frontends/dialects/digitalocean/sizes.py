"""Sizes: theirs by name and number, each with the limits of one of our plans, and our plans themselves."""

from __future__ import annotations

from typing import Any

from insula.domain.plan import PLANS
from insula.frontends.dialects.offer import Offer, Size


def _theirs(description: str, *rows: tuple[str, int, int, int, str]) -> list[Size]:
    return [Size(slug, description, vcpus, gib * 1024, disk, plan) for slug, vcpus, gib, disk, plan in rows]


SIZES = (
    Size("s-1vcpu-512mb-10gb", "Basic", 1, 512, 10, "micro-2"),
    *_theirs(
        "Basic",
        ("s-1vcpu-1gb", 1, 1, 25, "entry-1"),
        ("s-1vcpu-2gb", 1, 2, 50, "entry-1"),
        ("s-2vcpu-2gb", 2, 2, 60, "entry-2"),
        ("s-2vcpu-4gb", 2, 4, 80, "middle-2"),
        ("s-4vcpu-8gb", 4, 8, 160, "middle-4"),
        ("s-8vcpu-16gb", 8, 16, 320, "high-8"),
    ),
    *_theirs(
        "Premium AMD",
        ("s-1vcpu-1gb-amd", 1, 1, 25, "entry-1"),
        ("s-1vcpu-2gb-amd", 1, 2, 50, "entry-1"),
        ("s-2vcpu-4gb-amd", 2, 4, 80, "middle-2"),
        ("s-4vcpu-8gb-amd", 4, 8, 160, "middle-4"),
    ),
    *_theirs(
        "Premium Intel",
        ("s-1vcpu-1gb-intel", 1, 1, 25, "entry-1"),
        ("s-2vcpu-4gb-intel", 2, 4, 80, "middle-2"),
        ("s-4vcpu-8gb-intel", 4, 8, 160, "middle-4"),
    ),
    *_theirs(
        "CPU-Optimized",
        ("c-2", 2, 4, 25, "middle-2"),
        ("c-4", 4, 8, 50, "middle-4"),
        ("c-8", 8, 16, 100, "high-8"),
    ),
    *_theirs(
        "General Purpose",
        ("g-2vcpu-8gb", 2, 8, 25, "middle-2"),
        ("g-4vcpu-16gb", 4, 16, 50, "high-4"),
        ("g-8vcpu-32gb", 8, 32, 100, "high-8"),
    ),
    *_theirs(
        "Memory-Optimized",
        ("m-2vcpu-16gb", 2, 16, 50, "high-4"),
        ("m-4vcpu-32gb", 4, 32, 100, "high-4"),
        ("m-8vcpu-64gb", 8, 64, 200, "enterprise-8"),
    ),
    *(Size(plan.name, "Insula", plan.vcpus, plan.memory_mib, plan.disk_gib, plan.name) for plan in PLANS.values()),
)
OFFER = Offer(SIZES, "size")
SLUGS = OFFER.slugs


def view(size: Size, regions: list[str]) -> dict[str, Any]:
    """There are no prices on one's own host."""
    return {
        "slug": size.slug,
        "memory": size.memory_mib,
        "vcpus": size.vcpus,
        "disk": size.disk_gib,
        "transfer": 0.0,
        "price_monthly": 0.0,
        "price_hourly": 0.0,
        "regions": regions,
        "available": True,
        "description": size.description,
        "disk_info": disk_info(size.disk_gib),
    }


def disk_info(disk_gib: int) -> list[dict[str, Any]]:
    return [{"type": "local", "size": {"amount": disk_gib, "unit": "gib"}}]
