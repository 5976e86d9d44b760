"""Limit: how many operations and bytes a second it may do, at once."""

from __future__ import annotations

from dataclasses import replace

from insula.control.operations.engine.table import Ending, Step, Table, Work
from insula.control.operations.volumes.steps import back, node_volume, settled, with_fields
from insula.domain.operation import Verb
from insula.domain.volume import Volume


def wanted(work: Work) -> Volume:
    """The record as it will be."""
    return replace(work.target_volume, disk_iops=int(work.params["disk_iops"]), disk_mbps=int(work.params["disk_mbps"]))


async def limit(work: Work) -> None:
    await work.node.limit_volume(node_volume(wanted(work)))


async def limit_as_before(work: Work) -> None:
    await work.node.limit_volume(node_volume(work.target_volume))


def succeeded(work: Work) -> Ending:
    return with_fields(settled(work), disk_iops=wanted(work).disk_iops, disk_mbps=wanted(work).disk_mbps)


LIMIT_VOLUME = Table(Verb.LIMIT_VOLUME, (Step("limit", limit, limit_as_before),), succeeded, back)
