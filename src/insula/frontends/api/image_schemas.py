"""The shapes of `/v1/images`; see :mod:`schemas`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from insula.base.errors import InvalidInput
from insula.control.actions.published import PublishWish
from insula.domain.plan import DEFAULT_PLAN
from insula.frontends.api.schemas import Name, Wish


class WarmImage(Wish, frozen=True):
    """The plan whose instances shall start at once."""

    plan: Annotated[str, Meta(min_length=1, max_length=63)] = DEFAULT_PLAN


class PublishImage(Wish, frozen=True):
    """What the next version of an image is made of: an instance as it is now, or a snapshot."""

    name: Name
    instance: Annotated[str, Meta(max_length=63, description="Name or id")] = ""
    snapshot: Annotated[str, Meta(max_length=63, description="Name or id; of the instance, if one is named")] = ""

    def to_wish(self) -> PublishWish:
        return PublishWish(self.name, self.instance, self.snapshot)


class DeprecateImage(Wish, frozen=True):
    """Whether it is deprecated from now on."""

    deprecated: bool = True


class ShareImage(Wish, frozen=True):
    """With whom: a project, or all projects."""

    project: Annotated[str, Meta(max_length=63, description="Name of another project; empty for all")] = ""
    is_for_all: bool = False

    def other(self) -> str | None:
        """The project; None for all. Raises InvalidInput unless exactly one of both is asked for."""
        if bool(self.project) == self.is_for_all:
            raise InvalidInput(
                "It is not clear with whom the image is meant to be shared",
                why="Either a project is named, or all are meant",
                todo="Give a project, or is_for_all",
                fields={"project": "a project, or is_for_all"},
            )
        return self.project or None


class ImportImage(Wish, frozen=True):
    """A disk image that lies on the service's host; its format is never guessed."""

    name: Name
    path: Annotated[str, Meta(pattern=r"^/[^\u0000]*$", max_length=4096, description="Absolute path on the host")]
    image_format: Annotated[str, Meta(pattern="^(qcow2|raw)$", description="qcow2 or raw")] = "qcow2"
