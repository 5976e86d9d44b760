"""A guest's serial console over a WebSocket, whichever front end opened it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from insula.protocol.node import ConsoleStream

_CLOSE_NORMAL = 1000
_CLOSE_GOING_AWAY = 1001


async def carry(socket: WebSocket[Any, Any, Any], stream: ConsoleStream, closing: asyncio.Event) -> None:
    """Carry bytes both ways until one side ends or the service stops."""
    tasks = {
        asyncio.create_task(_to_caller(socket, stream)),
        asyncio.create_task(_to_guest(socket, stream)),
        asyncio.create_task(closing.wait()),
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the caller may have gone first
            reason = "the service stops" if closing.is_set() else "the console ended"
            await socket.close(_CLOSE_GOING_AWAY if closing.is_set() else _CLOSE_NORMAL, reason)


async def _to_caller(socket: WebSocket[Any, Any, Any], stream: ConsoleStream) -> None:
    while data := await stream.read():
        await socket.send_bytes(data)


async def _to_guest(socket: WebSocket[Any, Any, Any], stream: ConsoleStream) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await socket.receive()
            if message["type"] != "websocket.receive":
                return
            data = message.get("bytes") or (message.get("text") or "").encode()
            if data:
                await stream.write(data)
