"""`LiveState` over Redis, always derived from Postgres.

A state is built from Postgres at its first read and then kept up by writers; the generation of a subject tells a builder that
a writer came between. States of a Redis that restarted, was emptied or missed a write may lack events: `repair` drops them.
While that goes on, and whenever Redis does not answer at once, reads go to Postgres; when that fails as well, the state is
empty and `degraded`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.errors import Unavailable
from app.feedback.event import EVENT_WEIGHTS, Event, Impression
from app.feedback.seen import Showing, showing_of, showings_of
from app.feedback.state import Exposure, HistoryEntry, Part, SubjectStore, UserState
from app.patience import Hold, forget, hold_on, within
from app.privacy.encryption import PLAIN, TextCipher
from app.scenarios.scenario import RevisionStore
from app.stores.redis import scripts
from app.stores.redis.building import Keep, StateBuilder
from app.stores.redis.changes import queue_changes
from app.stores.redis.client import FAILURES, Client, Server
from app.stores.redis.exposures import Exposures
from app.stores.redis.packing import is_long, pack
from app.stores.redis.part import merge_greatest, merge_histories
from app.stores.redis.reading import READ_SECONDS, Held, StateReader
from app.stores.redis.repair import EventSource, Repair
from app.stores.redis.subject import Subject, subjects
from app.stores.redis.trends import Trends
from app.stores.redis.unpacked import Unpacked, UnpackedStates
from app.types import Clock, utc_now

TRENDS_SECONDS = 0.1  # no request waits so long for them; thousands of items take some milliseconds to read
WRITE_SECONDS = 1.0  # a missed write costs a repair, a slow one only its own caller
POSTGRES_SECONDS = 1.0  # for what Redis cannot answer
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cached:
    """What Redis holds. unpacked: None for a subject without a state. held: what they were read from.

    is_believable: False while Redis is being rebuilt. mark: of the server process. bridged: of events that Postgres does not have yet.
    """

    is_believable: bool
    mark: bytes
    revision: int
    unpacked: list[Unpacked | None]
    held: Sequence[Held]
    bridged: list[HistoryEntry]

    @property
    def parts(self) -> list[Part | None]:
        return [None if one is None else one.part for one in self.unpacked]


class RedisLiveState:
    """Between `start` and `close`. prefix: of every key, without glob characters. weights: event type -> trend weight. cipher: of
    profile texts."""

    def __init__(
        self, redis_url: str, *, events: EventSource, subjects: SubjectStore, revisions: RevisionStore,
        prefix: str = "duoscene", weights: Mapping[str, float] = EVENT_WEIGHTS, clock: Clock = utc_now,
        hold: Hold = hold_on, cipher: TextCipher = PLAIN,
    ) -> None:  # fmt: skip
        self._server = Server(redis_url, timeout_seconds=WRITE_SECONDS)
        self._events = events
        self._revisions = revisions
        self._prefix = prefix
        self._clock = clock
        self._hold = hold
        self._cipher = cipher
        self._trends = Trends(self._server.client, prefix, weights, clock)
        self._exposures = Exposures(self._server.client, prefix, clock)
        self._repair = Repair(self._server, self._trends, self._exposures, events, revisions, prefix)
        self._reader = StateReader(self._server, prefix, self._repair.mark)
        self._unpacked = UnpackedStates(cipher, clock)
        self._builder = StateBuilder(subjects, self._server, prefix, self._repair.mark, cipher, clock, self._execute)

    async def start(self) -> None:
        self._repair.start()

    async def close(self) -> None:
        self._unpacked.close()
        await self._repair.close()
        await self._server.close()

    async def is_reachable(self) -> bool:
        return await self._server.is_reachable()

    async def read(self, user_id: str | None, session_id: str | None) -> UserState:
        wanted = subjects(user_id, session_id)
        now = self._clock()
        cached = await self._read_cached(wanted, now)
        degraded: tuple[str, ...] = ()
        if cached is None or not cached.is_believable:
            degraded = ("user_state",)
        else:
            found = [one.part for one in cached.unpacked if one is not None]
            if len(found) == len(wanted):
                self._shorten(wanted, cached)
                return make_state(found, cached)
        try:
            if cached is None or not cached.is_believable:
                revision, *parts = await self._hold(self._build_all(wanted), POSTGRES_SECONDS)
            else:
                revision = cached.revision
                parts = await self._hold(self._build_missing(wanted, cached), POSTGRES_SECONDS)
        except Unavailable as error:
            log.warning("no user state from Postgres: %s", error)
            found = [part for part in cached.parts if part is not None] if cached else []
            return make_state(found, cached, degraded=("user_state",))
        return make_state(parts, cached, revision, degraded)

    async def apply(self, events: Sequence[Event]) -> bool:
        showings = [showing for event in events if (showing := showing_of(event)) is not None]
        return await self._add([event for event in events if event.type != "impression"], showings)

    async def shown(self, impressions: Sequence[Impression]) -> None:
        """Stored slates of the service itself."""
        await self._add((), showings_of(impressions))

    async def _add(self, events: Sequence[Event], showings: Sequence[Showing]) -> bool:
        if not events and not showings:
            return True
        pipe = self._server.client.pipeline(transaction=False)
        named = queue_changes(pipe, self._prefix, events, showings)
        self._exposures.add_showings(pipe, showings)
        if events:
            self._trends.add(pipe, events)
            self._exposures.add_acts(pipe, events)
        if await self._execute(pipe):
            return True
        self._repair.missed(named, trends=bool(events))
        return False

    async def take_back(self, event: Event) -> bool:
        named = subjects(event.user_id, event.session_id)
        pipe = self._server.client.pipeline(transaction=False)
        self._queue_forget(pipe, named)
        if event.type != "impression":
            self._trends.add(pipe, [event], sign=-1)
            self._exposures.take_back(pipe, event)
        is_done = await self._execute(pipe)
        self._unpacked.drop(named)
        if is_done:
            return True
        self._repair.missed(named, trends=True)
        return False

    async def forget(self, *, user_id: str | None = None, session_id: str | None = None) -> bool:
        return await self._forget(subjects(user_id, session_id))

    async def forget_users(self, user_ids: Sequence[str]) -> bool:
        return await self._forget([Subject("u", user_id) for user_id in user_ids])

    async def forget_shoppers_of(self, events: Sequence[Event]) -> bool:
        return await self._forget(
            list({subject for event in events for subject in subjects(event.user_id, event.session_id)})
        )

    async def erase(self, user_id: str, session_ids: Sequence[str]) -> bool:
        """As `forget`, for a user who is gone: what waited for Postgres of them as well, and the trends are counted anew."""
        named = [Subject("u", user_id), *(Subject("s", session_id) for session_id in session_ids)]
        pipe = self._server.client.pipeline(transaction=False)
        self._queue_forget(pipe, named)
        pipe.unlink(Subject("u", user_id).bridged_key(self._prefix))
        self._repair.missed((), trends=True)
        try:  # also while slates leave Redis alone
            await within(pipe.execute(), WRITE_SECONDS)
        except FAILURES as error:
            self._fail("an erasure", error)
            self._repair.missed(named, trends=True)
            return False
        finally:
            self._unpacked.drop(named)
        return True

    async def _forget(self, named: Sequence[Subject]) -> bool:
        pipe = self._server.client.pipeline(transaction=False)
        self._queue_forget(pipe, named)
        is_done = await self._execute(pipe)
        self._unpacked.drop(named)
        if is_done:
            return True
        self._repair.missed(named)
        return False

    def _queue_forget(self, pipe: Client, named: Sequence[Subject]) -> None:
        """Drops what is unpacked of them as well; to be dropped once more behind the answer, for who reads until then."""
        self._unpacked.drop(named)
        for subject in named:
            keys = subject.state_key(self._prefix), subject.generation_key(self._prefix)
            pipe.eval(scripts.FORGET, len(keys), *keys, scripts.GENERATION_TTL_SECONDS)

    async def recount_trends(self) -> None:
        self._repair.missed((), trends=True)

    async def settle(self) -> None:
        """Wait until the repair has done what it was told."""
        await self._repair.settle()

    async def forget_everybody(self) -> None:
        """Every state and the trends are rebuilt, e.g. after an import that wrote events past the intake."""
        try:
            await self._repair.invalidate()
        except FAILURES as error:
            self._fail("forgetting everybody", error)
            self._repair.missed_everything()
        finally:
            self._unpacked.clear()

    async def trending(self, scenario: str | None, limit: int) -> list[tuple[str, float]]:
        """Empty while Redis cannot be asked."""
        if limit > 0 and self._server.may_be_asked():
            try:
                return await within(self._trends.top(scenario, limit), TRENDS_SECONDS)
            except FAILURES as error:
                self._fail("trends", error)
        return []

    async def exposures(self, item_ids: Sequence[str]) -> dict[str, Exposure]:
        if item_ids and self._server.may_be_asked():
            try:
                return await within(self._exposures.of(item_ids), READ_SECONDS)
            except FAILURES as error:
                self._fail("exposures", error)
        return {}

    async def announce_catalogue(self, revision: int) -> None:
        if self._server.may_be_asked():
            try:
                await self._server.client.eval(scripts.RAISE, 1, f"{self._prefix}:rev", revision)
            except FAILURES as error:
                self._fail("the catalogue revision", error)
            else:
                return
        self._repair.missed(())  # it reads the revision from Postgres

    async def _read_cached(self, wanted: Sequence[Subject], now: datetime) -> Cached | None:
        """None where Redis does not answer in time or may not be believed."""
        if not self._server.may_be_asked():
            return None
        drops = self._unpacked.drops
        answer = await self._reader.read(wanted)
        if answer is None:
            return None
        try:
            unpacked = [
                self._unpacked.read(subject, held.state, now, drops)
                for subject, held in zip(wanted, answer.held, strict=True)
            ]
        except Unavailable as error:  # a profile under a key that is missing
            log.warning("a user state cannot be read: %s", error)
            return None
        return Cached(
            self._repair.is_valid(answer.valid_for) and not self._repair.has_missed(wanted),
            answer.valid_for or b"",
            answer.revision,
            unpacked,
            answer.held,
            [entry for held in answer.held for entry in held.bridged],
        )

    def _shorten(self, wanted: Sequence[Subject], cached: Cached) -> None:
        """States with many changes are packed anew, while nobody waits for it."""
        for subject, one in zip(wanted, cached.unpacked, strict=True):
            if one is not None and is_long(one.state):
                pipe = self._server.client.pipeline(transaction=False)
                packed = pack(one.part, one.at, self._cipher)
                pipe.eval(scripts.REPACK, 1, subject.state_key(self._prefix), one.state, packed)
                forget(asyncio.create_task(self._execute(pipe)))

    async def _build_all(self, wanted: Sequence[Subject]) -> tuple[Any, ...]:
        """The catalogue revision, then the part of each subject."""
        return tuple(await asyncio.gather(self._revision(), *map(self._builder.build, wanted)))

    async def _build_missing(self, wanted: Sequence[Subject], cached: Cached) -> list[Part]:
        return await asyncio.gather(
            *(
                self._builder.build(subject, Keep(held.generation, cached.mark)) if part is None else done(part)
                for subject, part, held in zip(wanted, cached.parts, cached.held, strict=True)
            )
        )

    async def _revision(self) -> int:
        return (await self._revisions.read()).catalogue

    async def _execute(self, pipe: Client) -> bool:
        """False: some of it may be missing in Redis."""
        if not self._server.may_be_asked():
            return False
        try:
            await within(pipe.execute(), WRITE_SECONDS)
        except FAILURES as error:
            self._fail("a write", error)
            return False
        return True

    def _fail(self, what: str, error: BaseException) -> None:
        self._server.rest(f"{what}: {type(error).__name__} {error}")


def make_state(
    parts: Sequence[Part],
    cached: Cached | None,
    revision: int | None = None,
    degraded: tuple[str, ...] = (),
) -> UserState:
    bridged = cached.bridged if cached else []
    bought = {entry.item_id: entry.occurred_at for entry in bridged if entry.type == "purchase"}
    disliked = {entry.item_id: entry.occurred_at for entry in bridged if entry.type == "dislike"}
    known = cached.revision if cached else 0
    return UserState(
        history=merge_histories([*(part.history for part in parts), bridged]),
        purchased=merge_greatest([*(part.purchased for part in parts), bought]),
        seen=merge_greatest(part.seen for part in parts),
        dismissed=merge_greatest([*(part.dismissed for part in parts), disliked]),
        profile=next((part.profile for part in parts if part.profile is not None), None),
        catalogue_revision=known if revision is None else revision,
        degraded=degraded,
    )


async def done(part: Part) -> Part:
    return part
