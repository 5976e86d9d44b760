"""Types: theirs by name and number, and ours; and the kernels, of which guests bring their own."""

from __future__ import annotations

from typing import Any

from insula.base.errors import InvalidInput
from insula.domain.plan import PLANS
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, page
from insula.frontends.dialects.offer import Offer, Size
from insula.frontends.dialects.records import unknown

UNKNOWN = "A valid plan type by that ID was not found"
KERNEL = "linode/direct-disk"  # their name for what a disk brings along
_FREE = {"price": {"hourly": 0.0, "monthly": 0.0}, "region_prices": []}

TYPES = Offer(
    (
        Size("g6-nanode-1", "Nanode 1GB", 1, 1024, 25, "entry-1"),
        Size("g6-standard-1", "Linode 2GB", 1, 2048, 50, "entry-1"),
        Size("g6-standard-2", "Linode 4GB", 2, 4096, 80, "middle-2"),
        Size("g6-standard-4", "Linode 8GB", 4, 8192, 160, "middle-4"),
        Size("g6-standard-6", "Linode 16GB", 6, 16384, 320, "high-4"),
        Size("g6-standard-8", "Linode 32GB", 8, 32768, 640, "high-8"),
        Size("g6-standard-16", "Linode 64GB", 16, 65536, 1280, "enterprise-8"),
        Size("g6-dedicated-2", "Dedicated 4GB", 2, 4096, 80, "middle-2"),
        Size("g6-dedicated-4", "Dedicated 8GB", 4, 8192, 160, "middle-4"),
        Size("g6-dedicated-8", "Dedicated 16GB", 8, 16384, 320, "high-8"),
        Size("g7-highmem-1", "Linode 24GB", 2, 24576, 20, "high-4"),
        Size("g7-highmem-2", "Linode 48GB", 2, 49152, 40, "enterprise-8"),
        *(Size(one.name, "Insula", one.vcpus, one.memory_mib, one.disk_gib, one.name) for one in PLANS.values()),
    ),
    "type",
)


def wanted(slug: str) -> Size:
    """The one that a body names. Raises InvalidInput."""
    if slug not in TYPES.slugs:
        raise InvalidInput(
            UNKNOWN, why=f"There are {', '.join(TYPES.slugs)}", todo="Choose one of them", fields={"type": UNKNOWN}
        )
    return TYPES.find(slug)


def _class_of(size: Size) -> str:
    words = {"nanode": "nanode", "dedicated": "dedicated", "highmem": "highmem"}
    return next((kind for word, kind in words.items() if word in size.slug), "standard")


def _view(size: Size) -> dict[str, Any]:
    """There are no prices on one's own host."""
    return {
        "id": size.slug,
        "label": size.description if size.description != "Insula" else f"Insula {size.slug}",
        "class": _class_of(size),
        "disk": size.disk_gib * 1024,
        "memory": size.memory_mib,
        "vcpus": size.vcpus,
        "gpus": 0,
        "accelerated_devices": 0,
        "network_out": 0,
        "transfer": 0,
        "successor": None,
        "addons": {"backups": _FREE},
        **_FREE,
    }


@DIALECT.operation("GET", "/linode/types", "linodes.types")
async def list_types(ask: Ask) -> Answer:
    return page(ask, [_view(size) for size in TYPES.sizes])


@DIALECT.operation("GET", "/linode/types/{type_id}", "linodes.type-view")
async def get_type(ask: Ask) -> Answer:
    if ask.path["type_id"] not in TYPES.slugs:
        raise unknown("type", ask.path["type_id"])
    return Answer(_view(TYPES.find(ask.path["type_id"])))


_KERNELS = [
    {
        "id": KERNEL,
        "label": "Direct Disk",
        "architecture": "x86_64",
        "built": "2026-01-01T00:00:00",
        "deprecated": False,
        "kvm": True,
        "pvops": False,
        "version": "",
    }
]


@DIALECT.operation("GET", "/linode/kernels", "kernels.list")
async def list_kernels(ask: Ask) -> Answer:
    """Guests bring their own, so there is the one that stands for that."""
    return page(ask, _KERNELS)


# Their ids have a slash, which clients may or may not encode.
@DIALECT.operation("GET", "/linode/kernels/linode/{kernel}", "kernels.view")
async def get_kernel(ask: Ask) -> Answer:
    name = f"linode/{ask.path['kernel']}"
    for kernel in _KERNELS:
        if kernel["id"] == name:
            return Answer(kernel)
    raise unknown("kernel", name)
