"""Does the live state say what Postgres says? For `duoscene doctor --consistency` and the fault harness; may run beside traffic.

A state that a writer touches while it is looked at is looked at again; one that stays under writers is counted as busy, not as
wrong. Trends are compared only if nothing was written meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from app.feedback.state import Part
from app.stores.redis.live_state import RedisLiveState
from app.stores.redis.subject import Subject
from app.stores.redis.trends import MAX_ITEMS

TRIES = 5
PAUSE_SECONDS = 0.2
AT_ONCE = 8
MAX_NAMED = 20


@dataclass(slots=True)
class Comparison:
    """wrong: shoppers whose state differs (all are counted, MAX_NAMED named). trends: wrong buckets, None: not comparable now."""

    states: int = 0
    busy: int = 0
    num_wrong: int = 0
    wrong: list[str] = field(default_factory=list)
    trends: int | None = None
    buckets: int = 0
    repaired: int = 0

    @property
    def is_equal(self) -> bool:
        return not self.num_wrong and self.trends == 0


async def compare(live: RedisLiveState, *, repair: bool) -> Comparison:
    """repair: wrong states are dropped, and rebuilt by their next read; wrong trends are counted anew. Raises Unavailable and
    Redis's own errors."""
    found = Comparison()
    waiting: list[Subject] = []
    async for subject in all_subjects(live):
        waiting.append(subject)
        if len(waiting) == AT_ONCE:
            await asyncio.gather(*(look_at(live, subject, found, repair) for subject in waiting))
            waiting = []
    await asyncio.gather(*(look_at(live, subject, found, repair) for subject in waiting))
    await compare_trends(live, found, repair)
    return found


async def all_subjects(live: RedisLiveState) -> Any:
    client, prefix = live._server.client, live._prefix
    for nobody in (Subject("u", ""), Subject("s", "")):
        start = nobody.state_key(prefix)
        async for key in client.scan_iter(match=f"{start}*", count=1000):
            yield nobody._replace(name=key.decode().removeprefix(start))


async def look_at(live: RedisLiveState, subject: Subject, found: Comparison, repair: bool) -> None:
    found.states += 1
    for _ in range(TRIES):
        now = live._clock()
        before = await live._read_cached([subject], now)
        if before is None or not before.is_believable or before.bridged:
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        if before.parts[0] is None:
            return
        truth = await live._builder.build(subject)
        after = await live._read_cached([subject], now)
        if after is None or after.held != before.held:
            continue
        if after.parts[0] is None or is_same(before.parts[0], truth):
            return
        await report(live, subject, found, repair)
        return
    found.busy += 1


def is_same(held: Part, truth: Part) -> bool:
    """Purchases that a rebuild no longer counts, being too old, may still be there. What was seen is an estimate that decays,
    and impressions are told to the live state at most once: not compared."""
    purchased = {item: at for item, at in held.purchased.items() if item in truth.purchased}
    return (sorted(held.history), purchased, dict(held.dismissed), held.profile) == (
        sorted(truth.history), dict(truth.purchased), dict(truth.dismissed), truth.profile,
    )  # fmt: skip


async def report(live: RedisLiveState, subject: Subject, found: Comparison, repair: bool) -> None:
    found.num_wrong += 1
    if len(found.wrong) < MAX_NAMED:
        found.wrong.append(f"{subject.id_name} {subject.name}")
    if repair:
        found.repaired += await live.forget(**{subject.id_name: subject.name})


async def compare_trends(live: RedisLiveState, found: Comparison, repair: bool) -> None:
    trends = live._trends
    for _ in range(TRIES):
        writes = await live._server.client.get(trends.writes)
        counted = await live._events.counts_by_hour(trends.since())
        held = await trends.held()
        is_settled = not await live._server.client.exists(trends.unsure) and counted.open_groups == 0
        if is_settled and await live._server.client.get(trends.writes) == writes:
            truth = trends.count(counted)
            buckets = {bucket for bucket in {*truth, *held} if trends.is_counted(bucket)}
            found.buckets = len(buckets)
            found.trends = sum(not is_near(truth.get(bucket, {}), held.get(bucket, {})) for bucket in buckets)
            break
        await asyncio.sleep(PAUSE_SECONDS * 5)
    if repair and found.trends:
        await live.recount_trends()
        found.repaired += found.trends


def is_near(truth: dict[str, float], held: dict[str, float]) -> bool:
    """A bucket that was cut to its heaviest items cannot be compared item by item."""
    if max(len(truth), len(held)) >= MAX_ITEMS:
        return True
    return truth.keys() == held.keys() and all(abs(truth[item] - held[item]) < 1e-6 for item in truth)
