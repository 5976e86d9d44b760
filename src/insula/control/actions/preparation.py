"""Checks of a wish against what there is: stored keys, images and their needs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from insula.base.errors import Conflict, NotFound
from insula.control.actions.faults import Faults
from insula.control.actions.image_names import ImageNames
from insula.control.actions.ports import Nodes
from insula.control.actions.ssh_keys import parse_public_key
from insula.control.actions.user_data import check_user_data
from insula.control.actions.wishes import MAX_KEYS, CreateWish, RebuildWish
from insula.control.store import Store
from insula.domain.ids import Kind, new_id, new_mac
from insula.domain.image import Image, ImageState, Provisioning
from insula.domain.instance import Firmware, Instance, MachineType, Platform, Resources
from insula.domain.project_network import port_wish, space_id_of
from insula.protocol.node import Drawn, InstanceSpec, Nic

_PARSED_INLINE_CHARS = 1024


class Preparation:
    """Notes what is wrong instead of raising it, so that everything is told at once."""

    def __init__(self, store: Store, nodes: Nodes) -> None:
        self.store = store
        self._nodes = nodes
        self._names = ImageNames(store, nodes)

    async def find_network(self, project: str, wish: CreateWish, faults: Faults) -> str:
        """The id of the network that is wished for, empty for the first one."""
        if not wish.network:
            return ""
        try:
            return (await self.store.networks.get(project, wish.network)).id
        except NotFound as error:
            faults.note("network", f"{error.what}; {error.todo}")
            return ""

    async def draw(self, project: str, wish: CreateWish, resources: Resources, network_id: str) -> Drawn:
        """Who the new instance is: a guest that was renewed ahead, where one waits, else nobody yet.

        Such a guest has been told everything but its name and its keys; user-data needs what happens before, a snapshot
        or a backup has a guest of its own, and all of them are in the project's first network.
        """
        if not (wish.cold or wish.user_data or wish.snapshot or wish.backup or network_id):
            spec = InstanceSpec("", "", "", "", wish.image, resources, (Nic("", space_id_of(project)),))
            spec = replace(spec, firmware=wish.firmware, machine_type=wish.machine_type, platform=wish.platform)
            for node in self._nodes.names():
                if (drawn := await self._nodes.get(node).draw(spec)) is not None:
                    return drawn
        instance_id = new_id(Kind.INSTANCE)
        return Drawn(instance_id, port_wish(instance_id, new_mac(), network_id))

    async def resolve_keys(self, project: str, keys: Sequence[str], faults: Faults) -> tuple[str, ...]:
        """Public keys as they are, names of stored keys as what they hold; each once."""
        if len(keys) > MAX_KEYS:
            faults.note("ssh_keys", f"must be at most {MAX_KEYS}")
            return ()
        found: dict[str, None] = {}
        for index, key in enumerate(keys):
            field = f"ssh_keys[{index}]"
            if len(key.split()) > 1:
                with faults.of(field):
                    found[parse_public_key(key, field).text] = None
                continue
            try:
                found[(await self.store.keys.get(project, key)).public_key] = None
            except NotFound:
                faults.note(field, f"{key[:80]!r} is neither a public key nor the name of a stored one")
        return tuple(found)

    async def check_user_data(self, text: str, faults: Faults) -> None:
        """Note what is wrong with it; long ones are parsed beside the event loop."""
        with faults.of("user_data"):
            if len(text) > _PARSED_INLINE_CHARS:
                await asyncio.to_thread(check_user_data, text)
            else:
                check_user_data(text)

    async def check_image(
        self, project: str, wish: CreateWish, resources: Resources | None, faults: Faults
    ) -> Image | None:
        """The image that is wished for, None with a backup. Notes an unknown one, and what it cannot do of the wish."""
        if wish.machine_type is MachineType.MICROVM and wish.firmware is Firmware.UEFI:
            faults.note("firmware", "must be auto or bios: a microvm has no UEFI")
        if wish.machine_type is MachineType.MICROVM and wish.platform not in (Platform.AUTO, Platform.NOCLOUD):
            faults.note("platform", "must be auto or nocloud: a microvm has no place to say what it is")
        if wish.backup:  # which is whole without
            return None
        if wish.snapshot:  # which keeps what it is based on, also when that is deleted
            image = await self._of_node(wish.image, faults)
        else:
            image = await self._usable(project, wish.image, faults)
        if image is None:
            return None
        if image.provisioning is Provisioning.NONE:
            _note_unreachable(wish.ssh_keys, wish.user_data, faults)
        if resources is not None:
            _note_too_small(image, resources, faults)
        return image

    async def check_minimum(self, image_name: str, resources: Resources, faults: Faults) -> None:
        """Note a size that an instance's image cannot run in. An image that is gone by now asks for nothing."""
        image = (await self._names.of_nodes()).get(image_name)
        if image is not None:
            _note_too_small(image, resources, faults)

    async def check_rebuild(self, instance: Instance, wish: RebuildWish, faults: Faults) -> dict[str, Any]:
        """What the rebuild operation needs to know; notes what is wrong with it."""
        params: dict[str, Any] = {"image": instance.image}
        if wish.ssh_keys is not None:
            params["ssh_keys"] = list(await self.resolve_keys(instance.project, wish.ssh_keys, faults))
        if wish.user_data is not None:
            await self.check_user_data(wish.user_data, faults)
            params["user_data"] = wish.user_data
        if wish.image:
            image = await self._usable(instance.project, wish.image, faults)
        else:
            image = await self._of_node(instance.image, faults)
        if image is not None:
            params["image"] = image.key
            if image.provisioning is Provisioning.NONE:
                _note_unreachable(wish.ssh_keys or (), wish.user_data or "", faults)
            _note_too_small(image, instance.resources, faults)
            params |= warning_of(image)
        return params

    async def _usable(self, project: str, reference: str, faults: Faults) -> Image | None:
        """An image that is ready or can be made ready."""
        try:
            image = await self._names.find(project, reference)
        except NotFound:
            faults.note("image", f"there is no image {reference[:80]!r}; `insula image list` shows all")
            return None
        except Conflict as error:
            faults.note("image", f"{error.what}: {error.todo}")
            return None
        if image.id and image.state is not ImageState.READY:
            faults.note("image", f"the image {image.reference} is {image.state}: {image.problem or 'wait for it'}")
            return None
        return _unless_failed(image, faults)

    async def _of_node(self, key: str, faults: Faults) -> Image | None:
        """What the node knows by this name."""
        image = (await self._names.of_nodes()).get(key)
        if image is None:
            faults.note("image", f"there is no image {key[:80]!r}; `insula image list` shows all")
            return None
        return _unless_failed(image, faults)


def _unless_failed(image: Image, faults: Faults) -> Image | None:
    if image.state is ImageState.FAILED:
        faults.note("image", f"the image {image.name} is unusable: {image.problem}; prepare or import it again")
        return None
    return image


def warning_of(image: Image) -> dict[str, str]:
    """What an operation's parameters say of an image that should not be used any more."""
    return {"warning": f"The image {image.reference} is deprecated"} if image.deprecated else {}


def _note_unreachable(ssh_keys: Sequence[str], user_data: str, faults: Faults) -> None:
    for field, given in (("ssh_keys", ssh_keys), ("user_data", user_data)):
        if given:
            faults.note(field, "must be empty: nothing in this image reads it")


def _note_too_small(image: Image, resources: Resources, faults: Faults) -> None:
    if resources.memory_mib < image.min_memory_mib:
        faults.note(
            "memory_mib", f"must be at least {image.min_memory_mib} for {image.name}, it is {resources.memory_mib}"
        )
    if resources.disk_gib < image.min_disk_gib:
        faults.note("disk_gib", f"must be at least {image.min_disk_gib} for {image.name}, it is {resources.disk_gib}")
