"""Endpoints of operations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from insula.base.errors import InvalidInput
from insula.control.actions import OperationFilter
from insula.domain.operation import Operation, OperationEvent
from insula.frontends.api.endpoint import Call, accepted, answer, endpoint, page_reply
from insula.frontends.api.reply import EVENTS, Reply
from insula.frontends.api.schemas import Nothing, OperationQuery, PageOf, without_secrets

KEEP_ALIVE_S = 15.0
_encode = msgspec.json.Encoder().encode


@endpoint("GET", "/v1/operations", action="operations.list", asks=OperationQuery, gives=PageOf[Operation])
async def list_operations(call: Call[Nothing, OperationQuery]) -> Reply:
    """List operations, newest first."""
    query = call.query
    where = OperationFilter(state=query.state, verb=query.verb, target=query.target)
    page = await call.actions.operations.list(call.caller, after=query.after, limit=query.limit, where=where)
    return page_reply("/v1/operations", query, page, without_secrets)


@endpoint("GET", "/v1/operations/{operation}", action="operations.show", gives=Operation)
async def show_operation(call: Call[Nothing, Nothing]) -> Reply:
    """Show an operation with its steps."""
    return answer(without_secrets(await call.actions.operations.show(call.caller, call.path["operation"])))


@endpoint("POST", "/v1/operations/{operation}/cancel", action="operations.cancel", gives=Operation, status=202)
async def cancel_operation(call: Call[Nothing, Nothing]) -> Reply:
    """Ask an operation to stop and undo itself."""
    return accepted(await call.actions.operations.cancel(call.caller, call.path["operation"]))


@endpoint("POST", "/v1/operations/{operation}/retry", action="operations.retry", gives=Operation, status=202)
async def retry_operation(call: Call[Nothing, Nothing]) -> Reply:
    """Start a failed or cancelled operation again, as a new one."""
    return accepted(await call.actions.operations.retry(call.caller, call.path["operation"]))


@endpoint("GET", "/v1/operations/{operation}/events", action="operations.follow", media=EVENTS, streams=True)
async def follow_operation(call: Call[Nothing, Nothing]) -> Reply:
    """Follow an operation as server-sent events; `Last-Event-ID` resumes, `end` is the last one."""
    events = await call.actions.operations.follow(call.caller, call.path["operation"], _after(call))
    return Reply(_stream(call, events), media=EVENTS, headers={"cache-control": "no-store"})


def _after(call: Call[Nothing, Nothing]) -> int:
    text = call.request.headers.get("last-event-id", "0").strip() or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidInput(
            "The events cannot be resumed from there",
            why=f"Last-Event-ID is {text[:40]!r}, not the id of an event",
            todo="Leave the header out to get all events",
            fields={"Last-Event-ID": "must be a number"},
        )
    return int(text)


async def _stream(call: Call[Nothing, Nothing], events: AsyncIterator[OperationEvent]) -> AsyncIterator[bytes]:
    """Events, a comment whenever nothing happens for a while, at the end the operation itself."""
    closing = asyncio.create_task(call.service.closing.wait())
    following = asyncio.create_task(_next(events))
    try:
        yield b": follows\n\n"
        while True:
            await asyncio.wait({closing, following}, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            if closing.done():
                return  # without an end: the reader comes back when the service does
            if not following.done():
                yield b": still going\n\n"
                continue
            event = following.result()
            if event is None:
                break
            yield b"id: %d\nevent: %s\ndata: %s\n\n" % (event.sequence, event.kind.encode(), _encode(event))
            following = asyncio.create_task(_next(events))
        over = await call.actions.operations.show(call.caller, call.path["operation"])
        yield b"event: end\ndata: %s\n\n" % _encode(without_secrets(over))
    finally:
        closing.cancel()
        following.cancel()
        await asyncio.wait({closing, following})


async def _next(events: AsyncIterator[OperationEvent]) -> OperationEvent | None:
    return await anext(events, None)
