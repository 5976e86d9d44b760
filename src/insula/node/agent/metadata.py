"""What guests learn about themselves at http://169.254.169.254, in whichever form they ask for it.

Who asks is told by the address that he asks from, which the packet filter lets nobody else use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from insula.base.errors import InsulaError
from insula.base.log import get_logger
from insula.node.agent.metadata_http import MetadataHttp
from insula.node.agent.metadata_shapes.ask import Answer, Ask
from insula.node.agent.metadata_shapes.speak import respond
from insula.node.agent.metadata_shapes.subject import subject_of
from insula.node.agent.metadata_shapes.tokens import Tokens
from insula.node.network.wiring import InstanceNetwork
from insula.protocol.node import InstanceSpec

_log = get_logger(__name__)

_LOOK_EVERY_S = 0.5
_NOBODY = Answer(b"There is no metadata for this address\n", 404)


class Metadata:
    """Listens in every space. `spec_of` gives the instance of an id, None for one that is not known."""

    def __init__(self, network: InstanceNetwork, spec_of: Callable[[str], InstanceSpec | None]) -> None:
        self._network = network
        self._spec_of = spec_of
        self._tokens = Tokens()
        self._servers: dict[str, tuple[str, asyncio.Server]] = {}
        self._problems: dict[str, str] = {}

    async def run(self) -> None:
        """Follow the spaces that come and go until cancelled."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            for _, server in self._servers.values():
                server.close()

    async def look(self) -> None:
        """Listen where there is a space that nobody listens in, and nowhere else."""
        epochs = self._network.epochs()
        for space_id, (epoch, server) in list(self._servers.items()):
            if epochs.get(space_id) != epoch:
                server.close()
                del self._servers[space_id]
        for space_id, epoch in epochs.items():
            if space_id not in self._servers:
                try:
                    self._servers[space_id] = (epoch, await self._listen(space_id))
                except (InsulaError, OSError) as error:
                    if self._problems.get(space_id) != str(error):
                        _log.warning("a space has no metadata yet", space=space_id, why=str(error))
                    self._problems[space_id] = str(error)
                else:
                    self._problems.pop(space_id, None)

    async def _listen(self, space_id: str) -> asyncio.Server:
        listener = await self._network.open_metadata(space_id)
        loop = asyncio.get_running_loop()
        try:
            return await loop.create_server(partial(MetadataHttp, partial(self._respond, space_id)), sock=listener)
        except BaseException:
            listener.close()
            raise

    def _respond(self, space_id: str, address: str, ask: Ask) -> Answer:
        instance_id = self._network.instance_at(space_id, address)
        spec = self._spec_of(instance_id) if instance_id is not None else None
        if spec is None:
            return _NOBODY
        return respond(ask, subject_of(spec, self._network.space(space_id)), self._tokens)
