"""DigitalOcean's API v2. Source: its OpenAPI specification."""

from __future__ import annotations

from insula.frontends.dialects.digitalocean import (
    account,
    actions,
    backup_plans,
    droplet_actions,
    droplet_destruction,
    droplets,
    firewalls,
    images,
    keys,
    metrics,
    projects,
    regions,
    reserved_ips,
    snapshots,
    tags,
    unavailable,
    volume_actions,
    volumes,
    vpcs,
)
from insula.frontends.dialects.digitalocean.dialect import DIALECT

# The operations register themselves on import.
MODULES = (
    account,
    actions,
    backup_plans,
    droplet_actions,
    droplet_destruction,
    droplets,
    firewalls,
    images,
    keys,
    metrics,
    projects,
    regions,
    reserved_ips,
    snapshots,
    tags,
    unavailable,
    volume_actions,
    volumes,
    vpcs,
)

__all__ = ["DIALECT", "MODULES"]
