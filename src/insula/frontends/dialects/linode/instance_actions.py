"""What may be done to a Linode."""

from __future__ import annotations

import msgspec

from insula.base.errors import InvalidInput, Unsupported
from insula.control.actions.sizes import SizeWish
from insula.control.actions.wishes import RebuildWish, ResizeWish
from insula.domain.instance import Instance, InstanceState
from insula.frontends.dialects import sources
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode import images, types
from insula.frontends.dialects.linode.configs import check_config
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page
from insula.frontends.dialects.linode.find import linode_of
from insula.frontends.dialects.linode.instance_view import view
from insula.frontends.dialects.linode.instances import Login, check_promises, login_keys, user_data
from insula.frontends.dialects.offer import Size
from insula.frontends.dialects.records import patiently

_PLACE = "/linode/instances/{linode}"


class _Rebuild(Login):
    image: str = ""
    booted: bool = True
    type: str | None = None
    stackscript_id: int | None = None


class _Boot(msgspec.Struct):
    config_id: int | None = None


class _Resize(msgspec.Struct):
    type: str
    allow_auto_disk_resize: bool = True
    migration_type: str = "cold"


@DIALECT.operation("POST", f"{_PLACE}/boot", "linodes.boot")
async def boot(ask: Ask) -> Answer:
    instance = await linode_of(ask)
    await check_config(ask, instance, ask.read(_Boot).config_id)
    if instance.state is InstanceState.RUNNING:
        raise InvalidInput("Linode already booted.", why="It is running", todo="Nothing is left to do")
    await patiently(lambda: ask.actions.instances.start(ask.caller, instance.id))
    return nothing()


@DIALECT.operation("POST", f"{_PLACE}/shutdown", "linodes.shutdown")
async def shut_down(ask: Ask) -> Answer:
    instance = await linode_of(ask)
    await patiently(lambda: ask.actions.instances.stop(ask.caller, instance.id, unless_off=True))
    return nothing()


@DIALECT.operation("POST", f"{_PLACE}/reboot", "linodes.reboot")
async def reboot(ask: Ask) -> Answer:
    instance = await linode_of(ask)
    await check_config(ask, instance, ask.read(_Boot).config_id)
    await patiently(lambda: ask.actions.instances.reboot(ask.caller, instance.id))
    return nothing()


@DIALECT.operation("POST", f"{_PLACE}/resize", "linodes.resize")
async def resize(ask: Ask) -> Answer:
    """The disk grows with it if that is wanted, which is the default; it never shrinks."""
    instance, wish = await linode_of(ask), ask.read(_Resize)
    size = types.wanted(wish.type)
    await _check_resize(ask, instance, size)
    grows = wish.allow_auto_disk_resize and size.disk_gib > instance.resources.disk_gib
    wanted = ResizeWish(size.plan, SizeWish(size.vcpus, size.memory_mib, size.disk_gib if grows else None))
    await patiently(lambda: ask.actions.instances.resize(ask.caller, instance.id, wanted))
    await ask.actions.aliases.note(instance.id, {"type": size.slug})
    return nothing()


async def _check_resize(ask: Ask, instance: Instance, size: Size) -> None:
    """Raises InvalidInput."""
    remembered = (await ask.actions.aliases.of([instance.id]))[instance.id].facts.get("type", "")
    if size == types.TYPES.of(instance.plan, instance.resources, remembered):
        raise InvalidInput(
            "Linode is already running this service plan.", why=f"It is a {size.slug}", todo="Choose another type"
        )
    if size.disk_gib < instance.resources.disk_gib:
        raise InvalidInput(
            "Linode has allocated more disk than the new service plan allows. Delete or resize disks smaller.",
            why=f"Its disk has {instance.resources.disk_gib} GiB and shrinks never, {size.slug} has {size.disk_gib}",
            todo="Choose a type with as much disk, or make a new Linode of a smaller one",
        )


@DIALECT.operation("POST", f"{_PLACE}/rebuild", "linodes.rebuild")
async def rebuild(ask: Ask) -> Answer:
    instance, wish = await linode_of(ask), ask.read(_Rebuild)
    check_promises(wish)
    if not wish.booted or wish.stackscript_id is not None or wish.type is not None:
        raise Unsupported(
            "This rebuild cannot be had",
            why="It boots when it is done, keeps its type, and there are no StackScripts",
            todo="Leave booted, type and stackscript_id out",
        )
    if not wish.image:
        raise InvalidInput(
            "You must specify an image",
            why="It is what the new disk holds",
            todo="Look at /images",
            fields={"image": "You must specify an image"},
        )
    source = await images.wanted(ask, wish.image)
    wanted = sources.rebuilding(source)
    if wish.metadata is not None or wish.root_pass is not None:
        wanted = RebuildWish(wanted.image, wanted.ssh_keys, user_data(wish))
    if keys := await login_keys(ask, wish):
        wanted = RebuildWish(wanted.image, keys, wanted.user_data)
    await patiently(lambda: ask.actions.instances.rebuild(ask.caller, instance.id, wanted))
    return Answer(await view(ask, await linode_of(ask)))


@DIALECT.operation("GET", f"{_PLACE}/transfer", "linodes.transfer-view")
async def get_transfer(ask: Ask) -> Answer:
    """In bytes, of the last thirty days; there is no quota."""
    instance = await linode_of(ask)
    total = (await ask.actions.traffic.show(ask.caller, instance.id, 30 * 24)).total
    return Answer({"used": total.sent_bytes + total.received_bytes, "quota": 0, "billable": 0})


@DIALECT.operation("GET", f"{_PLACE}/nodebalancers", "linodes.nodebalancers")
async def list_nodebalancers(ask: Ask) -> Answer:
    await linode_of(ask)
    return page(ask, [])


_REFUSED = {
    "clone": "A Linode is copied by an image of its disk: create one, and a new Linode from it",
    "migrate": "All regions are this host",
    "mutate": "Every Linode is of the newest kind",
    "rescue": "There is no rescue system; `insula console` on the host shows what a guest says",
    "upgrade-interfaces": "There is one generation of interfaces",
}


async def _refuse(ask: Ask) -> Answer:
    await linode_of(ask)
    word = ask.url.rpartition("/")[2]
    raise Unsupported(f"{word} is not available", why=_REFUSED.get(word, ""), todo="Do without it")


_NAMES = {"mutate": "upgrade", "upgrade-interfaces": "interfaces-upgrade"}
for _word in _REFUSED:
    DIALECT.operation("POST", f"{_PLACE}/{_word}", f"linodes.{_NAMES.get(_word, _word)}")(_refuse)
REFUSED = frozenset(f"linodes.{_NAMES.get(word, word)}" for word in _REFUSED)
