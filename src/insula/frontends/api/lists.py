"""Encoded lists of instances, kept while no instance changes: what dashboards ask for every second."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from insula.frontends.api.reply import Content, Reply

_KEPT_MAX = 256


@dataclass(frozen=True)
class KeptList:
    """One encoded answer with its headers, as of `version`."""

    version: int
    content: Content
    headers: Mapping[str, str]
    etag: str


class ListCache:
    """Bounded; the key is the project and the query as it was sent."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bytes], KeptList] = OrderedDict()

    def find(self, project: str, query: bytes, version: int) -> KeptList | None:
        kept = self._kept.get((project, query))
        return kept if kept is not None and kept.version == version else None

    def keep(self, project: str, query: bytes, version: int, reply: Reply) -> KeptList:
        # Python salts hash() in every process, so that an ETag from before a restart never fits.
        etag = f'W/"{version:x}-{hash((project, query)) & 0xFFFFFFFF:x}"'
        kept = KeptList(
            version, reply.content, {**reply.headers, "etag": etag, "vary": "authorization, insula-project"}, etag
        )
        self._kept[(project, query)] = kept
        self._kept.move_to_end((project, query))
        while len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return kept
