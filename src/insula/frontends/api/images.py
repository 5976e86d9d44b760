"""Endpoints of images and plans."""

from __future__ import annotations

from insula.domain.image import Image
from insula.domain.instance import Platform
from insula.domain.operation import Operation
from insula.domain.plan import Plan
from insula.frontends.api.endpoint import Call, accepted, answer, endpoint, page_reply, part_of
from insula.frontends.api.image_schemas import DeprecateImage, ImportImage, PublishImage, ShareImage, WarmImage
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Nothing, PageOf, PageQuery


@endpoint("GET", "/v1/images", action="images.list", asks=PageQuery, gives=PageOf[Image])
async def list_images(call: Call[Nothing, PageQuery]) -> Reply:
    """List the catalogue's images, imported ones, the project's own and those shared with it, by name and version."""
    page = await call.actions.images.list(call.caller)
    return page_reply("/v1/images", call.query, part_of(page.items, call.query, lambda image: image.key))


@endpoint("POST", "/v1/images", action="images.import", takes=ImportImage, gives=Operation, status=202)
async def import_image(call: Call[ImportImage, Nothing]) -> Reply:
    """Import a disk image that lies on the service's host."""
    wish = call.body
    operation = await call.actions.images.import_file(
        call.caller, wish.name, wish.path, wish.image_format, platform=Platform(wish.platform)
    )
    return accepted(operation)


@endpoint("GET", "/v1/images/{image}", action="images.show", gives=Image)
async def show_image(call: Call[Nothing, Nothing]) -> Reply:
    """Show an image, by NAME, NAME@VERSION or id."""
    return answer(await call.actions.images.show(call.caller, call.path["image"]))


@endpoint("POST", "/v1/images/{image}/prepare", action="images.prepare", gives=Operation, status=202)
async def prepare_image(call: Call[Nothing, Nothing]) -> Reply:
    """Build or download an image of the catalogue."""
    return accepted(await call.actions.images.prepare(call.caller, call.path["image"]))


@endpoint(
    "POST",
    "/v1/images/{image}/warm",
    action="images.warm",
    takes=WarmImage,
    gives=Operation,
    status=202,
    optional_body=True,
)
async def warm_image(call: Call[WarmImage, Nothing]) -> Reply:
    """Make what new instances of a plan go on from instead of booting."""
    return accepted(await call.actions.images.warm(call.caller, call.path["image"], call.body.plan))


@endpoint("DELETE", "/v1/images/{image}", action="images.delete", gives=Operation, status=202)
async def delete_image(call: Call[Nothing, Nothing]) -> Reply:
    """Remove an image's files from the host; those of a published version when nothing uses them any more."""
    return accepted(await call.actions.images.delete(call.caller, call.path["image"]))


@endpoint("POST", "/v1/images/publish", action="images.publish", takes=PublishImage, gives=Operation, status=202)
async def publish_image(call: Call[PublishImage, Nothing]) -> Reply:
    """Make an image of an instance or a snapshot, without what is that instance's own; a known name's next version."""
    return accepted(await call.actions.published.publish(call.caller, call.body.to_wish()))


@endpoint(
    "POST",
    "/v1/images/{image}/deprecate",
    action="images.deprecate",
    takes=DeprecateImage,
    gives=Image,
    optional_body=True,
)
async def deprecate_image(call: Call[DeprecateImage, Nothing]) -> Reply:
    """Let a name alone not mean this version any more, or take that back; NAME is all its versions."""
    return answer(await call.actions.published.deprecate(call.caller, call.path["image"], call.body.deprecated))


@endpoint("POST", "/v1/images/{image}/share", action="images.share", takes=ShareImage, gives=Image)
async def share_image(call: Call[ShareImage, Nothing]) -> Reply:
    """Let another project, or all, see and launch all versions of a published image."""
    return answer(await call.actions.published.share(call.caller, call.path["image"], call.body.other(), True))


@endpoint("POST", "/v1/images/{image}/unshare", action="images.share", takes=ShareImage, gives=Image)
async def unshare_image(call: Call[ShareImage, Nothing]) -> Reply:
    """End that; instances that were made of it stay."""
    return answer(await call.actions.published.share(call.caller, call.path["image"], call.body.other(), False))


@endpoint("GET", "/v1/plans", action="plans.list", asks=PageQuery, gives=PageOf[Plan])
async def list_plans(call: Call[Nothing, PageQuery]) -> Reply:
    """List plans, from the smallest to the largest."""
    page = await call.actions.plans.list(call.caller)
    return page_reply("/v1/plans", call.query, part_of(page.items, call.query, lambda plan: plan.name))
