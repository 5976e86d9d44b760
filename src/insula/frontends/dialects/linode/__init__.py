"""Linode's API v4. Source: the specification that its command line carries."""

from __future__ import annotations

from insula.frontends.dialects.linode import (
    account,
    backups,
    configs,
    disks,
    events,
    firewall_devices,
    firewall_history,
    firewall_templates,
    firewalls,
    images,
    instance_actions,
    instances,
    ips,
    keys,
    regions,
    stats,
    tags,
    tokens,
    types,
    unavailable,
    volumes,
    vpc_addresses,
    vpcs,
)
from insula.frontends.dialects.linode.dialect import DIALECT

# The operations register themselves on import.
MODULES = (
    account,
    backups,
    configs,
    disks,
    events,
    firewall_devices,
    firewall_history,
    firewall_templates,
    firewalls,
    images,
    instance_actions,
    instances,
    ips,
    keys,
    regions,
    stats,
    tags,
    tokens,
    types,
    unavailable,
    volumes,
    vpc_addresses,
    vpcs,
)

__all__ = ["DIALECT", "MODULES"]
