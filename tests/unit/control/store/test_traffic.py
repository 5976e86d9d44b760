"""Traffic is counted once, by the hour, whatever happens to counters and instances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from insula.control.store import Acceptance, Store
from insula.domain.traffic import KEPT_DAYS, Counts, HourTraffic, Reading

from .samples import make_instance, make_operation

_NOON = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
_HOUR = timedelta(hours=1)


async def accepted_instance(store: Store, name: str = "web1") -> str:
    made = make_instance(name)
    await store.accept(Acceptance(make_operation(made), instance=made))
    return made.id


def reading(instance_id: str, sent: int, *, epoch: str = "one") -> Reading:
    return Reading("default", instance_id, f"prt_{instance_id}", epoch, Counts(sent, sent // 100, sent * 2, 1))


async def sent(store: Store, instance_id: str, since: datetime = _NOON) -> list[tuple[int, int]]:
    """Hours and bytes."""
    return [(row.hour.hour, row.counts.sent_bytes) for row in await store.traffic.of_instance(instance_id, since)]


async def test_what_came_since_the_last_reading_goes_to_its_hour(store: Store) -> None:
    instance = await accepted_instance(store)
    for moment, total in ((_NOON, 1000), (_NOON, 1000), (_NOON + _HOUR, 1500), (_NOON + 3 * _HOUR, 1500)):
        await store.traffic.note([reading(instance, total)], moment)
    assert await sent(store, instance) == [(12, 1000), (13, 500)]
    first, _ = await store.traffic.of_instance(instance, _NOON)
    assert first == HourTraffic(_NOON.replace(minute=0), Counts(1000, 10, 2000, 1))
    assert await sent(store, instance, _NOON + _HOUR) == [(13, 500)]


async def test_counters_that_begin_anew_lose_nothing(store: Store) -> None:
    instance = await accepted_instance(store)
    await store.traffic.note([reading(instance, 1000)], _NOON)
    await store.traffic.note([reading(instance, 1200, epoch="two")], _NOON)  # more than before, though new
    await store.traffic.note([reading(instance, 300, epoch="two")], _NOON)  # less, so somebody has set it back
    assert await sent(store, instance) == [(12, 2500)]


async def test_the_traffic_of_one_that_is_gone_stays_for_a_year_and_some(store: Store) -> None:
    instance, other = await accepted_instance(store), await accepted_instance(store, "other")
    await store.traffic.note([reading(instance, 1000)], _NOON)
    await store.instances.delete(instance)
    await store.traffic.note([reading(instance, 5000)], _NOON)  # it was read before it went
    assert await sent(store, instance) == [(12, 1000)]
    await store.traffic.note([reading(other, 1)], _NOON + timedelta(days=KEPT_DAYS + 1))
    assert await sent(store, instance) == []
