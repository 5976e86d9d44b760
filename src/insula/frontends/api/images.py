"""Endpoints of images and plans."""

from __future__ import annotations

from insula.domain.image import Image
from insula.domain.operation import Operation
from insula.domain.plan import Plan
from insula.frontends.api.endpoint import Call, accepted, answer, endpoint, page_reply, part_of
from insula.frontends.api.image_schemas import ImportImage, WarmImage
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Nothing, PageOf, PageQuery


@endpoint("GET", "/v1/images", action="images.list", asks=PageQuery, gives=PageOf[Image])
async def list_images(call: Call[Nothing, PageQuery]) -> Reply:
    """List the catalogue's images and imported ones, by name."""
    page = await call.actions.images.list(call.caller)
    return page_reply("/v1/images", call.query, part_of(page.items, call.query, lambda image: image.name))


@endpoint("POST", "/v1/images", action="images.import", takes=ImportImage, gives=Operation, status=202)
async def import_image(call: Call[ImportImage, Nothing]) -> Reply:
    """Import a disk image that lies on the service's host."""
    wish = call.body
    return accepted(await call.actions.images.import_file(call.caller, wish.name, wish.path, wish.image_format))


@endpoint("GET", "/v1/images/{image}", action="images.show", gives=Image)
async def show_image(call: Call[Nothing, Nothing]) -> Reply:
    """Show an image."""
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
    """Remove an image's files from the host."""
    return accepted(await call.actions.images.delete(call.caller, call.path["image"]))


@endpoint("GET", "/v1/plans", action="plans.list", asks=PageQuery, gives=PageOf[Plan])
async def list_plans(call: Call[Nothing, PageQuery]) -> Reply:
    """List plans, from the smallest to the largest."""
    page = await call.actions.plans.list(call.caller)
    return page_reply("/v1/plans", call.query, part_of(page.items, call.query, lambda plan: plan.name))
