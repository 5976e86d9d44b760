"""Answers without a known end: they stop when the reader goes away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send


class StreamingResponse(ASGIResponse):
    """Sends what an iterator gives. An error in it breaks the connection off, so that nobody takes a part for all."""

    _should_set_content_length = False

    def __init__(self, content: AsyncIterator[bytes], status: int, media: str, headers: Mapping[str, str]) -> None:
        super().__init__(status_code=status, media_type=media, headers=dict(headers))
        self._content = content

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send until the iterator ends or the reader goes away, whichever comes first."""
        stream = asyncio.create_task(self._stream(send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({stream, gone}, return_when=asyncio.FIRST_COMPLETED)
            if stream.done():
                stream.result()
        finally:
            for task in (stream, gone):
                task.cancel()
            await asyncio.wait({stream, gone})
            close = getattr(self._content, "aclose", None)
            if close is not None:
                with contextlib.suppress(RuntimeError):  # it is closed already
                    await close()

    async def _stream(self, send: Send) -> None:
        async for part in self._content:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
