"""What a template depends on, and the key that changes with every part of it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

import msgspec

from insula.domain.instance import Firmware, MachineType, Platform
from insula.node.agent.launch import firmware_of, machine_type_of
from insula.node.agent.platforms import platform_of
from insula.node.hypervisor.driver import Driver
from insula.node.network.wiring import InstanceNetwork
from insula.node.storage.backend import BootableImage
from insula.protocol.node import InstanceSpec

LAYOUT = 3  # of a template's folder, and of the machine that is made from a specification


@dataclass(frozen=True)
class Ingredients:
    """Everything that must be the same in a template and in a machine that goes on from it.

    `hypervisor` is the driver's fingerprint; `network` the way of connecting, which decides what the network card
    offers to the guest.
    """

    image_disk: str
    image_bytes: int
    kernel: str
    initrd: str
    command_line: str
    hypervisor: str
    accelerator: str
    network: str
    machine_type: MachineType
    firmware: Firmware
    vcpus: int
    memory_mib: int
    disk_gib: int
    layout: int = LAYOUT

    @property
    def key(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


class TemplateKeys:
    """Keys on this node."""

    def __init__(self, driver: Driver, network: InstanceNetwork) -> None:
        self._driver = driver
        self._network = network

    async def of(self, spec: InstanceSpec, image: BootableImage) -> str:
        """The key for instances like this one, made from the image's own disk; empty when they can have no template.

        A copy needs an agent, to be told who it is, and a program in the guest that renews all that was the template's
        (the image says so).
        """
        firmware, machine_type = firmware_of(spec.firmware, image), machine_type_of(spec.machine_type, image)
        accelerator = await self._driver.accelerator()
        boot = image.boot_for(firmware, accelerator)
        # A frozen guest has read what the template's machine said of itself, with a serial number that is no other's.
        if platform_of(spec.platform, image) is not Platform.NOCLOUD:
            return ""
        # Without fresh randomness in the running kernel, copies would draw the same keys whatever else is renewed.
        if not ("random" in image.renew and image.image.has_agent and boot is not None and not image.behind):
            return ""
        fingerprint = await self._driver.fingerprint()
        size_bytes = (await asyncio.to_thread(image.disk.stat)).st_size
        return Ingredients(
            image_disk=str(image.disk),
            image_bytes=size_bytes,
            kernel=str(boot.kernel),
            initrd=str(boot.initrd or ""),
            command_line=boot.command_line,
            hypervisor=fingerprint,
            accelerator=accelerator,
            network=self._network.name,
            machine_type=machine_type,
            firmware=firmware,
            vcpus=spec.resources.vcpus,
            memory_mib=spec.resources.memory_mib,
            disk_gib=spec.resources.disk_gib,
        ).key
