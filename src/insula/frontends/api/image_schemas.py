"""The shapes of `/v1/images`; see :mod:`schemas`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from insula.control.actions.published import PublishWish
from insula.domain.instance import Platform
from insula.domain.plan import DEFAULT_PLAN
from insula.frontends.api.schemas import Name, Wish


class WarmImage(Wish, frozen=True):
    """The plan whose instances shall start at once."""

    plan: Annotated[str, Meta(min_length=1, max_length=63)] = DEFAULT_PLAN


class PublishImage(Wish, frozen=True):
    """What the next version of an image is made of: an instance as it is now, or a snapshot."""

    name: Name
    source: Annotated[
        str,
        Meta(
            min_length=1, max_length=127, description="INSTANCE, INSTANCE@SNAPSHOT (names or ids), or a snapshot's id"
        ),
    ]

    def to_wish(self) -> PublishWish:
        return PublishWish(self.name, self.source)


class DeprecateImage(Wish, frozen=True):
    """Whether it is deprecated from now on."""

    deprecated: bool = True


class ShareImage(Wish, frozen=True):
    """With whom: a project, or all."""

    project: Annotated[
        str,
        Meta(pattern=r"^(\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$", description="Name of another project; * for all"),
    ]

    def other(self) -> str | None:
        """The project; None for all."""
        return None if self.project == "*" else self.project


class ImportImage(Wish, frozen=True):
    """A disk image that lies on the service's host; its format is never guessed."""

    name: Name
    path: Annotated[str, Meta(pattern=r"^/[^\u0000]*$", max_length=4096, description="Absolute path on the host")]
    image_format: Annotated[str, Meta(pattern="^(qcow2|raw)$", description="qcow2 or raw")] = "qcow2"
    platform: Annotated[
        str,
        Meta(
            pattern="^(nocloud|digitalocean|akamai|ec2)$",
            description="What its machines say that they are: nocloud, digitalocean, akamai or ec2",
        ),
    ] = Platform.NOCLOUD.value
