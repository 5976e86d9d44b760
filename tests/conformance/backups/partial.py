"""A proxy that mends one fault of rclone's S3 server: it answers requests for a part of an object with 200, not 206."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn

from tests.private_service import free_port

_UP_S = 20.0
_OF_ONE_HOP = frozenset({b"connection", b"keep-alive", b"transfer-encoding"})


@contextlib.asynccontextmanager
async def corrected(server: str) -> AsyncIterator[str]:
    """The URL of a proxy in front of the server. Requests go through as they are, signatures included."""
    port = free_port()
    async with httpx.AsyncClient(base_url=server, timeout=60) as client:

        async def forward(scope: dict[str, Any], receive: Any, send: Any) -> None:
            body = b""
            while (message := await receive()).get("more_body"):
                body += message["body"]
            body += message.get("body", b"")
            url = httpx.URL(server).copy_with(raw_path=scope["raw_path"] + b"?" + scope["query_string"])
            headers = [(name, value) for name, value in scope["headers"] if name not in _OF_ONE_HOP]
            done = await client.request(scope["method"], url, content=body, headers=headers)
            status = 206 if done.status_code == 200 and "content-range" in done.headers else done.status_code
            answer = [(name, value) for name, value in done.headers.raw if name.lower() not in _OF_ONE_HOP]
            await send({"type": "http.response.start", "status": status, "headers": answer})
            await send({"type": "http.response.body", "body": done.content})

        config = uvicorn.Config(forward, host="127.0.0.1", port=port, log_level="error", lifespan="off")
        proxy = uvicorn.Server(config)
        serving = asyncio.create_task(proxy._serve())
        try:
            await until_it_listens(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            proxy.should_exit = True
            await serving


async def until_it_listens(port: int) -> None:
    async with asyncio.timeout(_UP_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
