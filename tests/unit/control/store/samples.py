"""Instances and operations for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from insula.base.clock import now_utc
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Instance, InstanceState, PortForward, Resources
from insula.domain.operation import Operation, OperationState, Verb


def make_instance(name: str = "web1", **fields: Any) -> Instance:
    now = now_utc()
    made = Instance(
        id=new_id(Kind.INSTANCE),
        project="default",
        name=name,
        state=InstanceState.CREATING,
        image="tiny",
        plan="micro-1",
        resources=Resources(1, 256, 5, 25),
        hostname=name,
        mac="52:54:00:00:00:01",
        node="local",
        created_at=now,
        updated_at=now,
        forwards=(PortForward(guest_port=22),),
        tags=("env:test",),
    )
    return replace(made, **fields)


def make_operation(target: Instance, verb: Verb = Verb.CREATE_INSTANCE, **params: Any) -> Operation:
    now = now_utc()
    return Operation(
        id=new_id(Kind.OPERATION),
        project=target.project,
        verb=verb,
        target=target.id,
        target_name=target.name,
        state=OperationState.QUEUED,
        params=params,
        requested_by="local:test",
        created_at=now,
        updated_at=now,
    )
