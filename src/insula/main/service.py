"""The service: every part made, wired and started in order, and ended in the opposite one.

Machines outlive it. It may be killed at any moment: what it accepted is in the database, and the next start goes on.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from contextlib import AsyncExitStack

from insula import __version__
from insula.base import log
from insula.base.clock import monotonic_s
from insula.base.settings import Settings
from insula.main import home
from insula.main.ports import check_free
from insula.main.readiness import Readiness
from insula.main.wiring import wire
from insula.protocol.service_record import log_path, write_record

_log = log.get_logger(__name__)


async def serve(settings: Settings, readiness: Readiness) -> None:
    """Run until SIGTERM or SIGINT.

    Raises Conflict when the home or the port is another's, and what any part raises that cannot start.
    """
    began_s = monotonic_s()
    home.prepare(settings.home)
    with home.locked(settings.home):
        log.configure(settings.log_level, file=log_path(settings.home), stderr=not readiness.is_awaited)
        _log.info("service starting", version=__version__, home=str(settings.home), driver=settings.driver)
        check_free(settings.listen_host, settings.listen_port)
        if settings.listen_tls is not None:
            check_free(*settings.listen_tls)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

        def ready(address: str) -> None:
            write_record(settings.home, address, __version__)
            readiness.ready()
            _log.info("service ready", address=address, took_ms=round((monotonic_s() - began_s) * 1000))
            # What was imported and wired stays; the collector need not look at it again and again.
            gc.collect()
            gc.freeze()

        async with AsyncExitStack() as parts:
            listen = await wire(settings, parts)
            await listen(stop, ready)
            _log.info("service stopping")
        _log.info("service stopped")
