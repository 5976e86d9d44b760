"""The composition root: every part made from the settings and given to those that need it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack

from insula.base.settings import Settings
from insula.control.actions import Actions, SigningKeys
from insula.control.nodes import Nodes, Spaces
from insula.control.operations import open_engine
from insula.control.reconcile import Accountant, Collector, Connector, Reaper, Reconciler, Recorder, Timekeeper
from insula.control.scheduler import HostPolicy, Scheduler
from insula.control.store import Histories, Store
from insula.frontends.api.app import make_app
from insula.frontends.certificates import Certificates
from insula.frontends.dialects.front import HOSTS, with_dialects
from insula.frontends.limits import RateLimits
from insula.frontends.listen import Tls, serve
from insula.frontends.panel.app import with_panel
from insula.main.background import Background
from insula.node.agent import assemble

# Records refer to it: the host's own name may change, this must not.
LOCAL_NODE = "local"

Listen = Callable[[asyncio.Event, Callable[[str], None]], Coroutine[None, None, None]]


async def wire(settings: Settings, parts: AsyncExitStack) -> Listen:
    """Make and start everything below the listeners; `parts` ends it in the opposite order.

    Returns the coroutine function that listens: it takes the event that stops it and whom to tell the bound address.
    Raises what a part raises that cannot start: the database (Unavailable, DataCorrupt, Conflict), the node.
    """
    store = await Store.open(settings.database_url)
    parts.push_async_callback(store.close)
    histories = await Histories.open(settings.home / "control" / "history.sqlite")
    parts.push_async_callback(histories.close)
    node = await parts.enter_async_context(await assemble(settings))
    nodes = Nodes({LOCAL_NODE: node})
    policy = HostPolicy(
        settings.reserve_memory_mib, settings.overcommit_vcpu, settings.overcommit_memory, settings.overcommit_disk
    )
    scheduler = Scheduler(store, nodes, policy)
    spaces = Spaces(store, nodes)
    parts.push_async_callback(spaces.close)
    engine = await open_engine(settings.database_url, store, nodes, spaces, scheduler)
    parts.push_async_callback(engine.close)
    background = await parts.enter_async_context(Background())
    background.start("store watch", store.watch)
    background.start("reconciler", Reconciler(store, nodes).run)
    background.start("connector", Connector(store, spaces).run)
    background.start("accountant", Accountant(store, nodes).run)
    background.start("recorder", Recorder(store, nodes, histories).run)
    background.start("collector", Collector(store, nodes).run)
    background.start("reaper", Reaper(store, engine).run)
    background.start("timekeeper", Timekeeper(store, engine, scheduler).run)
    closing = asyncio.Event()
    certificates, tls = None, None
    if settings.listen_tls is not None:
        certificates = Certificates(settings.home / "control" / "certificates", [settings.listen_tls[0], *HOSTS])
        await asyncio.to_thread(certificates.prepare)
        background.start("certificates", certificates.keep_fresh)
        tls = Tls(*settings.listen_tls, certificates.context())
    signing = await asyncio.to_thread(SigningKeys.open, settings.home / "control" / "signing.key")
    actions = Actions(store, engine, nodes, spaces, scheduler, signing=signing, histories=histories)
    limits = RateLimits(settings.rate_limit_per_minute)
    app = with_dialects(make_app(actions, limits, closing=closing, certificates=certificates), actions, limits)
    app = with_panel(app, actions, limits, closing=closing)

    async def listen(stop: asyncio.Event, on_ready: Callable[[str], None]) -> None:
        await serve(
            app,
            host=settings.listen_host,
            port=settings.listen_port,
            socket_path=settings.socket_path,
            stop=stop,
            closing=closing,
            on_ready=on_ready,
            tls=tls,
        )

    return listen
