"""Unix sockets at paths of any length."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

# sockaddr_un.sun_path holds 108 bytes with its closing zero (unix(7)).
_LONGEST_PATH_BYTES = 107


async def connect(path: Path, timeout_s: float) -> socket.socket:
    """A non-blocking stream socket that is connected to `path`; the caller closes it.

    A path that is too long for the kernel is reached through its open folder. Raises OSError (FileNotFoundError:
    no socket; ConnectionRefusedError: a stale one that nobody listens on) and TimeoutError (the listener's queue
    is full).
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    folder = -1
    try:
        address = str(path)
        if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
            folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            address = f"/proc/self/fd/{folder}/{path.name}"
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(connection, address)
        return connection
    except BaseException:
        connection.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
