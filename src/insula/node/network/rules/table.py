"""An nftables table as a value, and the commands that turn one into another.

The commands come in units: what is in one unit has to happen at once, and between two units the table is sound. An
ordinary user's netlink messages have a limit in size, so a large change may take several transactions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

NAME = "insula"
_TABLE = f"inet {NAME}"
_ELEMENTS_AT_ONCE = 200
_COUNTER = re.compile(r"counter name ([a-z]\w*) (?!map)")
_GROUP = re.compile(r"@(\w+)")

Unit = tuple[str, ...]


@dataclass(frozen=True)
class Chain:
    """A chain. `hook` is empty for one that others jump to."""

    rules: tuple[str, ...]
    hook: str = ""


@dataclass(frozen=True)
class Group:
    """A set or a map. `kind` is `set` or `map`; `elements` are `key` or `key : value` by their keys.

    The elements of a group with `opens` let packets pass, so they come last when a table is made.
    """

    kind: str
    type: str
    elements: Mapping[str, str]
    flags: str = ""
    opens: bool = False


@dataclass(frozen=True)
class Table:
    """Everything in the table by name. A limit's text is `rate over 100/second`. `skeleton` are the base chains."""

    skeleton: Mapping[str, Chain] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    counters: frozenset[str] = frozenset()
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Count:
    """What a counter has seen."""

    packets: int
    byte_count: int


def creation(table: Table, counts: Mapping[str, Count] | None = None) -> Iterator[Unit]:
    """Replace whatever has the table's name.

    Until the last unit has come new connections are refused, and those that are established go on. `counts` are what
    counters begin with.
    """
    counts = counts or {}
    bare = Table(table.skeleton, {}, {name: _emptied(table.groups[name]) for name in _groups_of(table.skeleton)})
    yield (f"add table {_TABLE}", f"delete table {_TABLE}", f"add table {_TABLE}", *_skeleton(bare, table, counts))
    for name in sorted(table.counters):
        if name not in _counters_of(table.skeleton):
            yield (_add_counter(name, counts.get(name)),)
    yield from _growth(Table(table.skeleton, {}, bare.groups, _counters_of(table.skeleton)), table)


def difference(old: Table, new: Table) -> Iterator[Unit]:
    """What turns `old` into `new`, whose skeletons have the same chains."""
    for name in sorted(new.counters - old.counters):
        yield (_add_counter(name, None),)
    yield from _growth(old, new)
    yield from _removal(old, new)


def transactions(units: Iterable[Unit], most_chars: int) -> Iterator[str]:
    """The units as few texts for nft, each of no more characters than that unless a single unit has more."""
    lines: list[str] = []
    chars = 0
    for unit in units:
        unit_chars = sum(map(len, unit)) + len(unit)
        if lines and chars + unit_chars > most_chars:
            yield "\n".join(lines) + "\n"
            lines, chars = [], 0
        lines += unit
        chars += unit_chars
    if lines:
        yield "\n".join(lines) + "\n"


def _emptied(group: Group) -> Group:
    return Group(group.kind, group.type, {}, group.flags, group.opens)


def _counters_of(chains: Mapping[str, Chain]) -> frozenset[str]:
    found = (_COUNTER.findall(rule) for chain in chains.values() for rule in chain.rules)
    return frozenset(name for names in found for name in names)


def _groups_of(chains: Mapping[str, Chain]) -> list[str]:
    found = (_GROUP.findall(rule) for chain in chains.values() for rule in chain.rules)
    return sorted({name for names in found for name in names})


def _skeleton(bare: Table, table: Table, counts: Mapping[str, Count]) -> Iterator[str]:
    named = sorted(_counters_of(table.skeleton) & table.counters)
    yield from (_add_counter(name, counts.get(name)) for name in named)
    yield from (_declare(name, group) for name, group in bare.groups.items())
    for name, chain in table.skeleton.items():
        yield f"add chain {_TABLE} {name}{f' {{ {chain.hook} }}' if chain.hook else ''}"
    for name, chain in table.skeleton.items():
        yield from (f"add rule {_TABLE} {name} {rule}" for rule in chain.rules)


def _add_counter(name: str, count: Count | None) -> str:
    start = f" {{ packets {count.packets} bytes {count.byte_count} ; }}" if count is not None else ""
    return f"add counter {_TABLE} {name}{start}"


def _declare(name: str, group: Group) -> str:
    flags = f" flags {group.flags} ;" if group.flags else ""
    return f"add {group.kind} {_TABLE} {name} {{ type {group.type} ;{flags} }}"


def _growth(old: Table, new: Table) -> Iterator[Unit]:
    """Everything new and changed; what opens comes last."""
    for name, text in new.limits.items():
        if name not in old.limits:
            yield (f"add limit {_TABLE} {name} {{ {text} ; }}",)
    for name, group in new.groups.items():
        if name not in old.groups:
            yield (_declare(name, group),)
    # A rule may name a set and a verdict a chain, so the filling of sets that only rules ask comes before the rules.
    closed = {name: group for name, group in new.groups.items() if not group.opens and "verdict" not in group.type}
    yield from _elements(old, closed)
    yield from _chains(old, new)
    yield from _elements(old, {name: group for name, group in new.groups.items() if name not in closed})


def _chains(old: Table, new: Table) -> Iterator[Unit]:
    yield from ((f"add chain {_TABLE} {name}",) for name in new.chains if name not in old.chains)
    known = {**old.skeleton, **old.chains}
    for name, chain in {**new.skeleton, **new.chains}.items():
        before = known.get(name)
        if before != chain:
            adding = tuple(f"add rule {_TABLE} {name} {rule}" for rule in chain.rules)
            yield adding if before is None else (f"flush chain {_TABLE} {name}", *adding)


def _elements(old: Table, groups: Mapping[str, Group]) -> Iterator[Unit]:
    for name, group in groups.items():
        before = old.groups[name].elements if name in old.groups else {}
        if before is group.elements or before == group.elements:
            continue
        changed = [key for key, value in group.elements.items() if before.get(key, value) != value]
        gone = [key for key in before if key not in group.elements]
        added = [value for key, value in group.elements.items() if key not in before]
        if changed or len(gone) + len(added) <= _ELEMENTS_AT_ONCE:
            # What moves from one value to another is never absent.
            removed = [*gone, *changed]
            arrived = [*added, *(group.elements[key] for key in changed)]
            yield (*_listed("delete", name, removed), *_listed("add", name, arrived))
            continue
        yield from ((line,) for line in (*_listed("delete", name, gone), *_listed("add", name, added)))


def _listed(verb: str, name: str, elements: list[str]) -> Iterator[str]:
    for start in range(0, len(elements), _ELEMENTS_AT_ONCE):
        yield f"{verb} element {_TABLE} {name} {{ {', '.join(elements[start : start + _ELEMENTS_AT_ONCE])} }}"


def _removal(old: Table, new: Table) -> Iterator[Unit]:
    """Everything that nothing names any more."""
    gone = [name for name in old.chains if name not in new.chains]
    yield from ((f"flush chain {_TABLE} {name}",) for name in gone)
    yield from ((f"delete chain {_TABLE} {name}",) for name in gone)
    for name, group in old.groups.items():
        if name not in new.groups:
            yield (f"delete {group.kind} {_TABLE} {name}",)
    yield from ((f"delete counter {_TABLE} {name}",) for name in sorted(old.counters - new.counters))
    yield from ((f"delete limit {_TABLE} {name}",) for name in old.limits if name not in new.limits)
