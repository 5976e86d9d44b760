"""Tells those who wait that the service answers, or why not: a pipe from `insula service start`, and systemd."""

from __future__ import annotations

import json
import os
import socket

from insula.base.errors import InsulaError


class Readiness:
    """Says one thing once. `descriptor` is the writing end of the starter's pipe, -1 when nobody waits."""

    def __init__(self, descriptor: int = -1) -> None:
        self._descriptor = descriptor
        if descriptor >= 0:
            # A machine that inherited it would keep the starter waiting for ever.
            os.set_inheritable(descriptor, False)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody started us in the background and waits."""
        return self._descriptor >= 0

    def ready(self) -> None:
        """The service answers."""
        self._say("ready")
        _notify_systemd("READY=1")

    def failed(self, error: InsulaError) -> None:
        """The service will not answer; nothing happens when it was ready before."""
        self._say(json.dumps(error.to_dict()))

    def close(self) -> None:
        """May be repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _say(self, text: str) -> None:
        if self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, text.encode())
        except BrokenPipeError:
            pass  # whoever started us was interrupted; the service is as good without
        finally:
            self.close()


def _notify_systemd(state: str) -> None:
    """The sd_notify protocol: one datagram to the socket that systemd names."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(state.encode(), address)
