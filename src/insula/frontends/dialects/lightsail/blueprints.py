"""Blueprints: our images, by ids like `debian_12`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from insula.base.errors import NotFound
from insula.domain.image import Image, ImageSource, ImageState
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail.dialect import New, answer, operation, page

_GROUPS = {"debian": "debian", "ubuntu": "ubuntu_20", "fedora": "fedora", "rocky": "rocky"}


def id_of(image: str) -> str:
    """The blueprint's id of an image's name or reference."""
    return re.sub(r"[^A-Za-z0-9]+", "_", image)


async def offered(ask: Ask) -> Sequence[Image]:
    return (await ask.actions.images.list(ask.caller)).items


async def find(ask: Ask, blueprint_id: str) -> Image:
    """Raises NotFound."""
    found = sorted(await offered(ask), key=lambda image: image.reference != blueprint_id)
    for image in found:  # one that is named exactly goes first
        if blueprint_id in {id_of(image.reference), image.reference}:
            return image
    raise NotFound(
        f"The Blueprint does not exist: {blueprint_id[:80]}",
        why="No image has this name",
        todo="Look at GetBlueprints",
        code="unknown-resource",
    )


class _Wish(New):
    include_inactive: bool = False
    app_category: str = ""


def _view(image: Image) -> dict[str, Any]:
    family, _, rest = image.name.partition("-")
    own = image.source is ImageSource.PUBLISHED
    return {
        "blueprintId": id_of(image.reference),
        "name": image.title or image.name,
        "group": family if own else _GROUPS.get(family, family),
        "type": "os",
        "description": image.title,
        "isActive": image.state is not ImageState.FAILED and not image.deprecated,
        "minPower": image.min_memory_mib,
        "version": image.version or rest or image.name,
        "versionCode": image.version or "1",
        "platform": "LINUX_UNIX",
    }


@operation("GetBlueprints")
async def get_blueprints(ask: Ask) -> Answer:
    wish = ask.read(_Wish)
    found = sorted(map(_view, await offered(ask)), key=lambda view: str(view["blueprintId"]))
    views = [view for view in found if view["isActive"] or wish.include_inactive]
    shown, more = page(ask, [] if wish.app_category else views, lambda view: str(view["blueprintId"]))
    return answer(blueprints=shown, **more)
