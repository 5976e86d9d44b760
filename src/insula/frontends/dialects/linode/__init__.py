"""Linode's API v4. Source: the specification that its command line carries."""

from __future__ import annotations

from insula.frontends.dialects.linode import (
    account,
    backups,
    disks,
    events,
    firewall_devices,
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
    vpcs,
)
from insula.frontends.dialects.linode.dialect import DIALECT

# The operations register themselves on import.
MODULES = (
    account,
    backups,
    disks,
    events,
    firewall_devices,
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
    vpcs,
)

__all__ = ["DIALECT", "MODULES"]
