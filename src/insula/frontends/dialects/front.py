"""Gives each request to the API that it is for, by its path: all of them share one port."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from litestar.types import ASGIApp, Receive, Scope, Send

from insula.control.actions import Actions
from insula.frontends.dialects.digitalocean import DIALECT as DIGITALOCEAN
from insula.frontends.dialects.lightsail import DIALECT as LIGHTSAIL
from insula.frontends.dialects.lightsail import HOSTS as LIGHTSAIL_HOSTS
from insula.frontends.dialects.lightsail import is_for_this as is_for_lightsail
from insula.frontends.dialects.linode import DIALECT as LINODE
from insula.frontends.dialects.linode.dialect import VERSIONS as LINODE_VERSIONS
from insula.frontends.limits import RateLimits

HOSTS = ("api.digitalocean.com", "api.linode.com", *LIGHTSAIL_HOSTS)
"""The vendors' own: clients that know no other can be sent here by a proxy or a name server, over HTTPS."""


def with_dialects(native: ASGIApp, actions: Actions, limits: RateLimits) -> ASGIApp:
    """The native API, and all dialects beside it."""
    digitalocean, linode = DIGITALOCEAN.app(actions, limits), LINODE.app(actions, limits)
    lightsail = LIGHTSAIL.app(actions, limits)
    first = {"v2": digitalocean} | {version.strip("/"): linode for version in LINODE_VERSIONS}
    outer = {"digitalocean": digitalocean, "linode": linode, "lightsail": lightsail}
    return Front(native, first, outer, [(is_for_lightsail, lightsail)])


class Front:
    """Each of `dialects` has the paths that begin with its word, the native API all the rest.

    A word that is only there to tell dialects apart, as in `/digitalocean/v2/…`, is in `outer` and is taken off. A
    dialect whose paths tell nothing is `marked` by what else knows its requests.
    """

    def __init__(
        self,
        native: ASGIApp,
        dialects: Mapping[str, ASGIApp],
        outer: Mapping[str, ASGIApp],
        marked: Sequence[tuple[Callable[[Scope], bool], ASGIApp]],
    ) -> None:
        self._native = native
        self._marked = marked
        self._dialects = dialects
        self._outer = outer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._native(scope, receive, send)
            return
        first, _, rest = scope["path"].lstrip("/").partition("/")
        if first in self._outer:
            scope["path"] = f"/{rest}"
            scope.setdefault("state", {})["outer"] = f"/{first}"
            await self._outer[first](scope, receive, send)
            return
        marked = next((app for is_for_it, app in self._marked if is_for_it(scope)), self._native)
        await self._dialects.get(first, marked)(scope, receive, send)
