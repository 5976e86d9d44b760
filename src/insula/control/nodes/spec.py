"""The node's view of an instance."""

from __future__ import annotations

from insula.domain.instance import Instance
from insula.domain.project_network import space_id_of
from insula.protocol.node import InstanceSpec, Nic


def node_spec(instance: Instance) -> InstanceSpec:
    """Everything of the record that the node needs to know."""
    return InstanceSpec(
        id=instance.id,
        project=instance.project,
        name=instance.name,
        hostname=instance.hostname,
        image=instance.image,
        resources=instance.resources,
        nics=tuple(Nic(port.mac, space_id_of(instance.project), port.id) for port in instance.ports),
        ssh_keys=instance.ssh_keys,
        user_data=instance.user_data,
        firmware=instance.firmware,
        machine_type=instance.machine_type,
        restart_policy=instance.restart_policy,
        platform=instance.platform,
        number=instance.number,
        region=instance.region,
    )
