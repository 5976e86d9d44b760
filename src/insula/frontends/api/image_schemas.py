"""The shapes of `/v1/images`; see :mod:`schemas`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from insula.domain.plan import DEFAULT_PLAN
from insula.frontends.api.schemas import Name, Wish


class WarmImage(Wish, frozen=True):
    """The plan whose instances shall start at once."""

    plan: Annotated[str, Meta(min_length=1, max_length=63)] = DEFAULT_PLAN


class ImportImage(Wish, frozen=True):
    """A disk image that lies on the service's host; its format is never guessed."""

    name: Name
    path: Annotated[str, Meta(pattern=r"^/[^\u0000]*$", max_length=4096, description="Absolute path on the host")]
    image_format: Annotated[str, Meta(pattern="^(qcow2|raw)$", description="qcow2 or raw")] = "qcow2"
