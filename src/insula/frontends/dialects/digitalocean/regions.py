"""Regions: all of theirs are this host, so that whatever a configuration names exists."""

from __future__ import annotations

from typing import Any

from insula.base.errors import InvalidInput
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean import sizes
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part

DEFAULT = "nyc3"
FEATURES = ("backups", "ipv6", "metadata", "storage", "image_transfer")
_NAMES = {
    "nyc1": "New York 1",
    "nyc2": "New York 2",
    "nyc3": "New York 3",
    "ams2": "Amsterdam 2",
    "ams3": "Amsterdam 3",
    "sfo1": "San Francisco 1",
    "sfo2": "San Francisco 2",
    "sfo3": "San Francisco 3",
    "sgp1": "Singapore 1",
    "lon1": "London 1",
    "fra1": "Frankfurt 1",
    "tor1": "Toronto 1",
    "blr1": "Bangalore 1",
    "syd1": "Sydney 1",
}
SLUGS = tuple(_NAMES)


def check(slug: str) -> str:
    """The region that was asked for, or the default. Raises InvalidInput."""
    if slug and slug not in _NAMES:
        raise InvalidInput(
            f"You specified an invalid region {slug[:40]!r}",
            why=f"There are {', '.join(_NAMES)}",
            todo="Choose one of them",
            fields={"region": "unknown"},
        )
    return slug or DEFAULT


def view(slug: str) -> dict[str, Any]:
    known = slug if slug in _NAMES else DEFAULT
    return {
        "name": _NAMES[known],
        "slug": known,
        "features": list(FEATURES),
        "available": True,
        "sizes": list(sizes.SLUGS),
    }


@DIALECT.operation("GET", "/v2/regions", "regions_list")
async def list_regions(ask: Ask) -> Answer:
    return page(ask, "regions", [view(slug) for slug in part(ask, SLUGS)], len(SLUGS))


@DIALECT.operation("GET", "/v2/sizes", "sizes_list")
async def list_sizes(ask: Ask) -> Answer:
    shown = [sizes.view(size, list(SLUGS)) for size in part(ask, sizes.SIZES)]
    return page(ask, "sizes", shown, len(sizes.SIZES))
