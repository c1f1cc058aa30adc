"""From a request to a slate: fetches what the pipeline needs, runs it off the event loop, hands the impression on.

A storefront is answered while this process lives: without user state as for a stranger, without a model from what sells and
what is new, each named in `degraded`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import perf_counter
from typing import TypeVar, TypeVarTuple

import numpy as np
from ulid import ULID

from app.catalogue.item import LIST_ITEM_FIELDS, PLAIN_ITEM_FIELDS
from app.errors import Invalid, NotFound, Unavailable
from app.experiments.experiment import Variant
from app.experiments.registry import ExperimentRegistry
from app.feedback.event import Impression
from app.feedback.state import Exposure, LiveState, UserState
from app.patience import Hold, hold_on
from app.retrieval.filters import Filter, parse_filter
from app.retrieval.item_fields import ATTRIBUTE_PREFIX, property_of
from app.scenarios.registry import ScenarioRegistry
from app.scenarios.scenario import Scenario
from app.serving.batching import Drafting
from app.serving.diagnostics import diagnose
from app.serving.fallback import Pick
from app.serving.follower import Follower
from app.serving.live import Live, LiveSnapshot
from app.serving.ordering import RankedItems, sort_items, sort_rest
from app.serving.page import explain_page, in_slate, without_place, without_shown
from app.serving.paging.lists import MAX_SHOWN, Continuation, KeptSlate, Lists
from app.serving.pipeline import Draft, complete_slate, explain_slate
from app.serving.preview import Previews
from app.serving.profiles import ProfileTexts
from app.serving.queries import AskedWords, Queries
from app.serving.rules import Asked, filtered
from app.serving.slate import Slate, SlateItem, SlateRequest
from app.serving.trends import Trend, TrendCache
from app.types import Clock, Float32Array, Json, utc_now

MAX_N = 200
MAX_PAGE_ITEMS = 1_000
CATCH_UP_SECONDS = 10.0  # reading a bulk of changes may take so long; a database that hangs is not waited for
Args = TypeVarTuple("Args")
Result = TypeVar("Result")
SCORE_UNITS = 1e6  # a score has six digits behind the point
NO_FIELDS: Mapping[str, Json] = {}
RETURNABLE = (*PLAIN_ITEM_FIELDS, *LIST_ITEM_FIELDS, "attributes")


@dataclass(frozen=True, slots=True)
class Visit:
    """What is known of a shopper before any slate. profile_T: vector of the profile to go by. personal: see `Asked`.
    trends: of each placement asked for."""

    state: UserState
    profile_T: Float32Array | None
    personal: bool
    trends: Mapping[str, Trend]


@dataclass(frozen=True, slots=True)
class Served:
    """One slate of a call. has_more: an item is left that could follow."""

    slate: Slate
    request: SlateRequest
    shown_at: datetime
    has_more: bool


@dataclass(slots=True)
class Recommender:
    """record: takes the impression; must not block. hold: how to wait for the database. caller, wherever it is asked for: the API key
    that cursors belong to."""

    live: Live
    follower: Follower
    scenarios: ScenarioRegistry
    experiments: ExperimentRegistry
    live_state: LiveState
    profiles: ProfileTexts
    record: Callable[[Impression], object]
    lists: Lists
    previews: Previews
    clock: Clock = utc_now
    hold: Hold = hold_on
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="slate"))
    _trends: TrendCache = field(init=False)
    _queries: Queries = field(init=False)
    _drafting: Drafting = field(init=False)

    def __post_init__(self) -> None:
        self._drafting = Drafting(self._threads)
        self._trends, self._queries = TrendCache(self.live_state), Queries(self.profiles)

    async def recommend(self, request: SlateRequest, caller: str = "") -> Slate:
        """Raises NotFound("scenario_not_found", "model_not_found"), Invalid (filter, fields), Conflict("model_unusable"), Unavailable
        before the catalogue was read once."""
        with without_place():
            (slate,) = await self.recommend_page([request], caller)
        return slate

    async def recommend_page(self, requests: Sequence[SlateRequest], caller: str = "") -> list[Slate]:
        """Slates of one shopper, by one model, no item in two of them: earlier ones choose first. Raises as `recommend`."""
        served = await self._serve(requests)
        for one in served:
            self._record(one)
        return [self._with_cursor(one, served, caller) for one in served]

    async def recommend_next(self, cursor: str, caller: str = "") -> tuple[Slate, SlateRequest]:
        """The slate behind a cursor and what it was made for; the same again when the cursor is repeated, but for items that went away.

        Raises Invalid("bad_cursor"), Gone("cursor_expired"), Unavailable, and as `recommend`.
        """
        of = self.lists.open(cursor, caller)
        so_far = await self.lists.read(of)
        if so_far.kept is not None:
            return await self._shown_again(of, so_far.kept, so_far.shown, caller), of.request
        with without_place():
            (served,) = await self._serve([of.request], hidden=frozenset(so_far.shown))
        made = KeptSlate(replace(served.slate, recommendation_id=of.recommendation_id), served.has_more)
        stands, is_kept = await self.lists.keep(of, so_far, made)
        if stands is not made:  # another request with this cursor was first
            return await self._shown_again(of, stands, so_far.shown, caller), of.request
        self._record(replace(served, slate=made.slate))
        return self._continued(of, made, so_far.shown, is_kept, caller), of.request

    async def rank_items(self, request: SlateRequest, item_ids: Sequence[str]) -> RankedItems:
        """The items given, in order; nothing is recorded, because what of it is shown is not known here. Raises as `recommend`.

        item_ids: without repeats.
        """
        begin = perf_counter()
        self._check_ready()
        scenario = self.scenarios.get(request.scenario)
        with without_place():
            wanted, by_scenario = self._filters(0, request, scenario)
        live, visit, degraded = await self._meet(request, [scenario])
        state_ms = round((perf_counter() - begin) * 1e3, 3)
        now = self.clock()
        state, profile_T, personal = visit.state, visit.profile_T, visit.personal
        words = await self._queries.read(request.query, live)
        trend = visit.trends[scenario.name]
        num = len(item_ids)
        asked = Asked(request, scenario, wanted, by_scenario, state, profile_T, personal, now, num, words, trend)
        ranked = await self._in_thread(sort_items, asked, item_ids, live)
        if ranked.draft.is_short:
            await self._in_thread(sort_rest, ranked.draft, item_ids, trend.item_ids)
        if request.reasons:
            await self._in_thread(explain_slate, ranked.draft)
        ranked.draft.timings_ms |= {"state": state_ms, "total": round((perf_counter() - begin) * 1e3, 3)}
        slate = make_slate(ranked.draft, degraded)
        return RankedItems(slate, ranked.unavailable, ranked.unknown, ranked.filtered)

    async def _serve(self, requests: Sequence[SlateRequest], hidden: frozenset[str] = frozenset()) -> list[Served]:
        """hidden: items not to show, beside those that the requests exclude themselves."""
        begin = perf_counter()
        self._check_ready()
        placements = [self.scenarios.get(request.scenario) for request in requests]
        variants = [self._variant(request) for request in requests]
        scenarios = [
            scenario if variant is None else variant.of(scenario)
            for scenario, variant in zip(placements, variants, strict=True)
        ]
        check_size(requests, scenarios)
        filters = [self._filters(place, *pair) for place, pair in enumerate(zip(requests, scenarios, strict=True))]
        live, visit, degraded = await self._meet(requests[0], placements)
        state_ms = round((perf_counter() - begin) * 1e3, 3)
        now = self.clock()
        words: list[AskedWords | None] = [None] * len(requests)
        if any(request.query for request in requests):
            words = await asyncio.gather(*(self._queries.read(request.query, live) for request in requests))
        asked = [
            Asked(
                replace(request, exclude_items=request.exclude_items | hidden) if hidden else request, scenario, *wanted,
                visit.state, visit.profile_T, visit.personal, now, min(request.n or scenario.n, MAX_N), said,
                visit.trends[scenario.name],
            )
            for request, scenario, wanted, said in zip(requests, scenarios, filters, words, strict=True)
        ]  # fmt: skip
        served, drafts = [], await self._drafts(asked, live)
        for place, (draft, request, variant) in enumerate(zip(drafts, requests, variants, strict=True)):
            draft.timings_ms |= {"state": state_ms, "total": round((perf_counter() - begin) * 1e3, 3)}
            has_more = draft.num_left > num_taken(draft, drafts[place + 1 :])
            served.append(Served(make_slate(draft, degraded, variant), request, now, has_more))
        return served

    async def _drafts(self, asked: Sequence[Asked], live: LiveSnapshot) -> list[Draft]:
        """One after the other, because each leaves out what stands above it."""
        drafts: list[Draft] = []
        for place, one in enumerate(asked):
            try:
                drafts.append(await self._drafting.draft(without_shown(one, live, drafts), live))
            except Invalid as error:
                raise in_slate(error, place) from error
            if drafts[-1].is_open:
                await self._complete(drafts[-1])
        if any(one.request.reasons for one in asked):
            await self._in_thread(explain_page, drafts)
        return drafts

    async def _complete(self, draft: Draft) -> None:
        trending = draft.asked.trend.item_ids if draft.is_short else []
        exposures = await self._exposures(draft) if draft.explores else {}
        await self._in_thread(complete_slate, draft, trending, self._scenario_or_none, exposures)

    async def _meet(
        self, request: SlateRequest, scenarios: Sequence[Scenario]
    ) -> tuple[LiveSnapshot, Visit, tuple[str, ...]]:
        """What to serve from, the shopper, and what is missing."""
        names = [scenario.name for scenario in scenarios]
        with self._drafting.coming():
            state, trends = await self._state_and_trends(request, names)
        degraded = [*state.degraded, *await self._catch_up(state, scenarios)]
        live = await self._live_of(request.model_version)
        reads = (live or self.live.current).model is not None
        visit = Visit(state, *await self._profile(request, state, reads), trends)
        if live is None:
            live = self.live.current
        if live.model is None:
            degraded.append("model")
        return live, visit, tuple(degraded)

    async def _state_and_trends(
        self, request: SlateRequest, names: Sequence[str]
    ) -> tuple[UserState, Mapping[str, Trend]]:
        """At once where both have to be asked for."""
        reading = self.live_state.read(request.user_id, request.session_id)
        held = [self._trends.held(name) for name in names]
        fresh = [trend for trend in held if trend is not None]
        if len(fresh) == len(names):
            return await reading, dict(zip(names, fresh, strict=True))
        state, asked = await asyncio.gather(reading, asyncio.gather(*map(self._trends.of, names)))
        return state, dict(zip(names, asked, strict=True))

    async def _live_of(self, version: str | None) -> LiveSnapshot | None:
        """None: the live one, read as late as can be."""
        if version is None or version == self.live.current.model_version:
            return None
        return await self.previews.get(version)

    def _check_ready(self) -> None:
        """A process that began while the database was away knows neither scenarios nor items: others may, and it will in moments."""
        if not self.follower.is_ready:
            raise Unavailable("this process is starting and has not read the catalogue yet; try again")

    def _filters(self, place: int, request: SlateRequest, scenario: Scenario) -> tuple[Filter | None, Filter | None]:
        try:
            check_fields(request.fields)
            wanted = None if request.filter is None else parse_filter(request.filter)
            for i, boost in enumerate(request.boosts):
                parse_filter(boost.filter, ("boosts", i, "filter"))
        except Invalid as error:
            raise in_slate(error, place) from error
        return wanted, None if scenario.filter is None else parse_filter(scenario.filter)

    def _record(self, served: Served) -> None:
        """A preview is not shown to shoppers: its slates leave no impression."""
        if served.slate.items and served.request.model_version in (None, self.live.current.model_version):
            self.record(impression_of(served.slate, served.request, served.shown_at))

    def _with_cursor(self, served: Served, page: Sequence[Served], caller: str) -> Slate:
        if not served.has_more or not served.slate.items:
            return served.slate
        shown = [item.item_id for one in page for item in one.slate.items]
        beside = [one.slate.recommendation_id for one in page if one is not served and one.slate.items]
        cursor = self.lists.first_cursor(served.slate, served.request, shown, caller, beside)
        return replace(served.slate, next_cursor=cursor)

    def _continued(self, of: Continuation, made: KeptSlate, before: Sequence[str], is_kept: bool, caller: str) -> Slate:
        """With the cursor of what follows."""
        shown = [*before, *(item.item_id for item in made.slate.items)]
        if not made.has_more or not made.slate.items or len(shown) > MAX_SHOWN:
            return made.slate
        cursor = self.lists.next_cursor(of, () if is_kept else shown, caller)
        return replace(made.slate, next_cursor=cursor)

    async def _shown_again(self, of: Continuation, kept: KeptSlate, before: Sequence[str], caller: str) -> Slate:
        """A slate made before, with the properties its items have now, without those that are not to be had any more or that the filters leave
        out; each keeps its position."""
        request, scenario = of.request, self.scenarios.get(of.request.scenario)
        if (variant := self._variant(request)) is not None:
            scenario = variant.of(scenario)
        state = await self.live_state.read(request.user_id, request.session_id)
        await self._catch_up(state, ())
        live = await self._live_of(request.model_version) or self.live.current
        now, view = self.clock(), live.catalogue
        words = await self._queries.read(request.query, live)
        with without_place():
            filters = self._filters(0, request, scenario)
        asked = Asked(request, scenario, *filters, state, None, False, now, len(kept.slate.items), words)
        allowed_R = (await self._in_thread(filtered, asked, view)).allowed_R
        items = [item for item in kept.slate.items if (row := view.row(item.item_id)) is not None and allowed_R[row]]
        shown = fields_of(live, [item.item_id for item in items], request.fields, now)
        again = tuple(replace(item, fields=shown.get(item.item_id, {})) for item in items)
        return replace(self._continued(of, kept, before, True, caller), items=again)

    async def _exposures(self, draft: Draft) -> Mapping[str, Exposure]:
        """Of the candidates, for those who explore by what is uncertain."""
        if draft.pool is None or draft.asked.scenario.exploration_method == "epsilon":
            return {}
        return await self.live_state.exposures([draft.live.catalogue.id_at(row) for row in draft.pool.rows_C.tolist()])

    def close(self) -> None:
        self.previews.close()
        self._threads.shutdown()

    async def _catch_up(self, state: UserState, scenarios: Sequence[Scenario]) -> list[str]:
        """What another process wrote before this request holds in its answer."""
        model = self.live.current.model
        if model is not None and any(scenario not in model.scenarios for scenario in scenarios):
            await self.live.state.use_scenarios(self.scenarios.all())
        if state.catalogue_revision <= self.live.current.catalogue.revision:
            return []
        try:
            await self.hold(self.follower.catch_up(state.catalogue_revision), CATCH_UP_SECONDS)
        except Unavailable:
            return ["catalogue"]
        return []

    async def _profile(self, request: SlateRequest, state: UserState, reads: bool) -> tuple[Float32Array | None, bool]:
        """The vector of the profile to go by, and whether this shopper may be recognised at all. reads: there is a model to read it."""
        known = [user for user in (request.user, state.profile) if user is not None]
        if not all(user.consent.personalize for user in known):
            return None, False
        return (await self.profiles.of(known[0]) if known and reads else None), True

    async def _in_thread(self, work: Callable[[*Args], Result], *args: *Args) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    def _variant(self, request: SlateRequest) -> Variant | None:
        return self.experiments.variant_for(request.scenario, request.user_id, request.session_id)

    def _scenario_or_none(self, name: str) -> Scenario | None:
        try:
            return self.scenarios.get(name)
        except NotFound:
            return None


def num_taken(draft: Draft, later: Sequence[Draft]) -> int:
    """Items that are left for this slate, but stand in a later one of its page, so that nothing behind it may show them."""
    if not later:
        return 0
    rows = {pick.row for other in later for pick in other.picks} - {pick.row for pick in draft.standing()}
    return int(np.count_nonzero(draft.admission.allowed_R[list(rows)]))


def check_size(requests: Sequence[SlateRequest], scenarios: Sequence[Scenario]) -> None:
    total = sum(min(request.n or scenario.n, MAX_N) for request, scenario in zip(requests, scenarios, strict=True))
    if total > MAX_PAGE_ITEMS:
        raise Invalid(
            f"the slates of a page have {total} items together; at most {MAX_PAGE_ITEMS} in one call",
            code="page_too_large",
            loc=("slates",),
        )


def make_slate(draft: Draft, degraded: tuple[str, ...], variant: Variant | None = None) -> Slate:
    request, live = draft.asked.request, draft.live
    rows = [pick.row for pick in draft.picks]
    item_ids, cold, scores = live.catalogue.ids_at(rows), live.are_cold(rows), rounded(draft.picks)
    shown = fields_of(live, item_ids, request.fields, draft.asked.now)
    reasons = draft.reasons
    items = tuple([
        SlateItem(
            item_id, position, score, pick.sources, is_cold, pick.is_explored, pick.propensity,
            shown.get(item_id, NO_FIELDS), reasons.get(pick.row),
        )
        for position, item_id, pick, score, is_cold in zip(
            range(1, len(rows) + 1), item_ids, draft.picks, scores, cold, strict=True
        )
    ])  # fmt: skip
    return Slate(
        recommendation_id=str(ULID()),
        scenario=request.scenario,
        model_version=live.model_version,
        items=items,
        fallbacks=tuple(draft.fallbacks),
        degraded=degraded,
        variant=variant.name if variant else None,
        interpreted_query=draft.asked.words.interpretation if draft.asked.words else None,
        diagnostics=diagnose(draft, degraded) if request.diagnostics else None,
    )


def rounded(picks: Sequence[Pick]) -> list[float]:
    """Their scores with six digits, as `round` gives them, at three times the price, for numbers of single precision."""
    scores_K = np.fromiter([pick.score for pick in picks], np.float64, len(picks))
    return (np.rint(scores_K * SCORE_UNITS) / SCORE_UNITS).tolist()  # type: ignore[no-any-return]


def impression_of(slate: Slate, request: SlateRequest, shown_at: datetime) -> Impression:
    return Impression(
        recommendation_id=slate.recommendation_id,
        scenario=slate.scenario,
        model_version=slate.model_version or "none",
        shown_at=shown_at,
        item_ids=tuple([item.item_id for item in slate.items]),
        scores=tuple([item.score for item in slate.items]),
        propensities=tuple([item.propensity for item in slate.items]),
        user_id=request.user_id,
        session_id=request.session_id,
        variant=slate.variant,
        context=request.context,
    )


def check_fields(names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        if name not in RETURNABLE and not name.removeprefix(ATTRIBUTE_PREFIX) != name:
            raise Invalid(
                f"items have no property {name!r}; there are {', '.join(RETURNABLE)} and attributes.<name>",
                code="unknown_field",
                loc=("fields", i),
            )


def fields_of(
    live: LiveSnapshot, item_ids: Sequence[str], names: Sequence[str], now: datetime
) -> Mapping[str, Mapping[str, Json]]:
    """item -> property -> value; null where the item has none."""
    if not names:
        return {}
    return {
        item.item_id: {name: as_json(property_of(item, name, now)) for name in names}
        for item in live.catalogue.items(item_ids)
    }


def as_json(value: object) -> Json:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value  # type: ignore[return-value]
