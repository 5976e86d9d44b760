"""Amazon Lightsail's API, version 2016-11-28. Source: its description in botocore."""

from __future__ import annotations

from insula.frontends.dialects.lightsail import (
    add_ons,
    auto_snapshots,
    blueprints,
    bundles,
    disks,
    instance_ports,
    instances,
    key_pairs,
    metrics,
    names,
    operations,
    regions,
    snapshots,
    static_ips,
    tagging,
    unavailable,
)
from insula.frontends.dialects.lightsail.dialect import DIALECT, is_for_this
from insula.frontends.dialects.lightsail.regions import HOSTS

# The operations register themselves on import.
MODULES = (
    add_ons,
    auto_snapshots,
    blueprints,
    bundles,
    disks,
    instance_ports,
    instances,
    key_pairs,
    metrics,
    names,
    operations,
    regions,
    snapshots,
    static_ips,
    tagging,
    unavailable,
)

__all__ = ["DIALECT", "HOSTS", "MODULES", "is_for_this"]
