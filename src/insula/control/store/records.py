"""Records of projects as read models hold them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar


class _OfProject(Protocol):
    @property
    def project(self) -> str: ...


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


P = TypeVar("P", bound=_OfProject)
R = TypeVar("R", bound=_Identified)


def by_project(records: Iterable[P]) -> Mapping[str, Sequence[P]]:
    """Records by project, each in the order given."""
    found: dict[str, list[P]] = defaultdict(list)
    for record in records:
        found[record.project].append(record)
    return {project: tuple(held) for project, held in found.items()}


def page(held: Iterable[R], after: str, limit: int, wants: Callable[[R], bool]) -> Sequence[R]:
    """At most `limit` of those wanted with ids after `after`; `held` is in the order of ids."""
    wanted: list[R] = []
    for record in held:
        if record.id > after and wants(record):
            wanted.append(record)
            if len(wanted) == limit:
                break
    return wanted
