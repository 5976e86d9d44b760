"""The nodes that control knows, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from insula.base.clock import monotonic_s
from insula.base.errors import NotFound, Unavailable
from insula.control.nodes.bounded import BoundedNode
from insula.protocol.node import NodeApi, NodeReport

_REPORT_AGE_S = 5.0


class Nodes:
    """A registry of nodes. Every call through it has a deadline and fails with an error that names the node."""

    def __init__(self, nodes: Mapping[str, NodeApi]) -> None:
        self._nodes = {name: BoundedNode(name, node) for name, node in nodes.items()}
        self._reports: tuple[float, Sequence[NodeReport]] | None = None
        self._asking = asyncio.Lock()

    def names(self) -> Sequence[str]:
        """All names, in order."""
        return sorted(self._nodes)

    def get(self, name: str) -> BoundedNode:
        """The node of this name. Raises :class:`NotFound`."""
        try:
            return self._nodes[name]
        except KeyError:
            raise NotFound(
                f"There is no node {name[:80]}",
                why=f"The nodes are {', '.join(self.names()) or 'none'}",
                todo="Look at `insula doctor`",
                code="unknown-node",
            ) from None

    async def reports(self) -> Sequence[NodeReport]:
        """What every node that answers is, at most five seconds old: acceptance of a burst of creates asks often.

        A node's `name` is the one it is registered by. Raises :class:`Unavailable` when none answers.
        """
        async with self._asking:
            if self._reports is not None and monotonic_s() - self._reports[0] < _REPORT_AGE_S:
                return self._reports[1]
            answers = await asyncio.gather(*(node.describe() for node in self._nodes.values()), return_exceptions=True)
            reports: list[NodeReport] = []
            failures: list[str] = []
            for answer in answers:
                if isinstance(answer, NodeReport):
                    reports.append(answer)
                elif isinstance(answer, Exception):
                    failures.append(str(answer))
                else:
                    raise answer
            if not reports:
                raise Unavailable("No node answers", why="; ".join(failures), todo="Look at `insula doctor`")
            self._reports = (monotonic_s(), reports)
            return reports
