"""Endpoints of what instances and nodes use, now and before."""

from __future__ import annotations

from insula.domain.access import Scope
from insula.frontends.api.endpoint import Call, answer, endpoint
from insula.frontends.api.exposition import MEDIA, exposition
from insula.frontends.api.metric_schemas import HistoryView, MetricsQuery, UseView, history_view, use_view
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import ListOf, Nothing


@endpoint(
    "GET",
    "/v1/instances/{instance}/metrics",
    action="history.instance",
    asks=MetricsQuery,
    gives=HistoryView,
)
async def instance_metrics(call: Call[Nothing, MetricsQuery]) -> Reply:
    """Show what an instance used: processors, memory, disks, network."""
    found = await call.actions.history.of_instance(call.caller, call.path["instance"], call.query.span())
    return answer(history_view(found))


@endpoint("GET", "/v1/host/metrics", action="history.host", asks=MetricsQuery, gives=HistoryView)
async def host_metrics(call: Call[Nothing, MetricsQuery]) -> Reply:
    """Show what the host used, all together: processors, memory, disks, network."""
    return answer(history_view(await call.actions.history.of_host(call.caller, call.query.span())))


@endpoint("GET", "/v1/use", action="history.use", gives=ListOf[UseView])
async def list_use(call: Call[Nothing, Nothing]) -> Reply:
    """Show what all instances use now."""
    return answer(ListOf([use_view(each) for each in await call.actions.history.use(call.caller)]))


@endpoint("GET", "/v1/host/use", action="history.host_use", gives=ListOf[UseView])
async def host_use(call: Call[Nothing, Nothing]) -> Reply:
    """Show what each node uses now."""
    return answer(ListOf([use_view(each) for each in await call.actions.history.host_use(call.caller)]))


@endpoint("GET", "/v1/metrics", action="history.use", media=MEDIA)
async def expose_metrics(call: Call[Nothing, Nothing]) -> Reply:
    """Expose what is measured to Prometheus: the project's instances, and the nodes if the caller may see the host."""
    instances = await call.actions.history.use(call.caller)
    may_see = call.caller.identity.may(Scope.HOST_READ)
    nodes = await call.actions.history.host_use(call.caller) if may_see else ()
    return Reply(exposition(call.caller.project, instances, nodes), media=MEDIA)
