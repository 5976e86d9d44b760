"""What an instance's machine says of itself, and whether its guest then looks for a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from insula.domain.image import Provisioning
from insula.domain.instance import Platform
from insula.node.agent.metadata_shapes import akamai, digitalocean, ec2
from insula.node.hypervisor.driver import Plate
from insula.node.storage.backend import BootableImage
from insula.protocol.node import InstanceSpec

_PLATES: Mapping[Platform, Callable[[InstanceSpec], Plate]] = {
    Platform.DIGITALOCEAN: digitalocean.plate,
    Platform.AKAMAI: akamai.plate,
    Platform.EC2: ec2.plate,
}


def platform_of(wish: Platform, image: BootableImage) -> Platform:
    """The wish, or what the image asks for; never AUTO."""
    return image.image.platform if wish is Platform.AUTO else wish


def plate_of(spec: InstanceSpec, image: BootableImage) -> Plate | None:
    """What its machine says; None leaves it to the hypervisor."""
    make = _PLATES.get(platform_of(spec.platform, image))
    return make(spec) if make is not None else None


def needs_seed(spec: InstanceSpec, image: BootableImage) -> bool:
    """Whether its machine has a seed.

    cloud-init prefers one to everything else, so a guest that shall ask its platform's metadata must not see any.
    Guests of our own images always read theirs, whatever their machine says: their host keys are told nowhere else.
    """
    match image.image.provisioning:
        case Provisioning.NONE:
            return False
        case Provisioning.INSULA:
            return True
        case Provisioning.CLOUD_INIT:
            return platform_of(spec.platform, image) is Platform.NOCLOUD
