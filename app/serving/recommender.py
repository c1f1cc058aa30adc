"""From a request to a slate: fetches what the pipeline needs, runs it off the event loop, hands the impression on.

A storefront is answered while this process lives: without user state as for a stranger, without a model from what sells and
what is new, each named in `degraded`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import TypeVar, TypeVarTuple

from ulid import ULID

from app.catalogue.item import LIST_ITEM_FIELDS, PLAIN_ITEM_FIELDS
from app.errors import Invalid, NotFound, Unavailable
from app.features.texts import user_text
from app.feedback.event import Impression
from app.feedback.state import Exposure, LiveState, UserState
from app.patience import Hold, hold_on
from app.retrieval.filters import parse_filter
from app.retrieval.item_fields import ATTRIBUTE_PREFIX, property_of
from app.scenarios.registry import ScenarioRegistry
from app.scenarios.scenario import Scenario
from app.serving.diagnostics import diagnose
from app.serving.follower import Follower
from app.serving.live import Live, LiveSnapshot
from app.serving.pipeline import Draft, complete_slate, draft_slate, explain_slate
from app.serving.profiles import ProfileTexts
from app.serving.rules import Asked
from app.serving.slate import Slate, SlateItem, SlateRequest
from app.types import Clock, Float32Array, Json, utc_now

MAX_N = 200
NUM_TRENDING = 500
CATCH_UP_SECONDS = 10.0  # reading a bulk of changes may take so long; a database that hangs is not waited for
Args = TypeVarTuple("Args")
Result = TypeVar("Result")
RETURNABLE = (*PLAIN_ITEM_FIELDS, *LIST_ITEM_FIELDS, "attributes")


@dataclass(slots=True)
class Recommender:
    """record: takes the impression; must not block. hold: how to wait for the database."""

    live: Live
    follower: Follower
    scenarios: ScenarioRegistry
    live_state: LiveState
    profiles: ProfileTexts
    record: Callable[[Impression], object]
    clock: Clock = utc_now
    hold: Hold = hold_on
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="slate"))

    async def recommend(self, request: SlateRequest) -> Slate:
        """Raises NotFound("scenario_not_found"), Invalid (filter, fields)."""
        begin = perf_counter()
        scenario = self.scenarios.get(request.scenario)
        check_fields(request.fields)
        wanted = None if request.filter is None else parse_filter(request.filter)
        by_scenario = None if scenario.filter is None else parse_filter(scenario.filter)
        for i, boost in enumerate(request.boosts):
            parse_filter(boost.filter, ("boosts", i, "filter"))

        state = await self.live_state.read(request.user_id, request.session_id)
        degraded = list(state.degraded) + await self._catch_up(state, scenario)
        profile_T, personal = await self._profile(request, state)
        state_ms = (perf_counter() - begin) * 1e3

        n = min(request.n or scenario.n, MAX_N)
        asked = Asked(request, scenario, wanted, by_scenario, state, profile_T, personal, self.clock(), n)
        draft = await self._in_thread(draft_slate, asked, self.live.current)
        if draft.live.model is None:
            degraded.append("model")
        if draft.is_open:
            trending = await self._trending(scenario.name) if draft.is_short else []
            exposures = await self._exposures(draft) if draft.explores else {}
            await self._in_thread(complete_slate, draft, trending, self._scenario_or_none, exposures)
        if request.reasons:
            await self._in_thread(explain_slate, draft)
        draft.timings_ms |= {"state": round(state_ms, 3), "total": round((perf_counter() - begin) * 1e3, 3)}

        slate = make_slate(draft, tuple(degraded))
        if slate.items:
            self.record(impression_of(slate, request, asked.now))
        return slate

    async def _trending(self, scenario: str) -> list[str]:
        """Of this placement, then of the whole shop."""
        lists = [await self.live_state.trending(where, NUM_TRENDING) for where in (scenario, None)]
        return list(dict.fromkeys(item_id for found in lists for item_id, _ in found))

    async def _exposures(self, draft: Draft) -> Mapping[str, Exposure]:
        """Of the candidates, for those who explore by what is uncertain."""
        if draft.pool is None or draft.asked.scenario.exploration_method == "epsilon":
            return {}
        return await self.live_state.exposures([draft.live.catalogue.id_at(row) for row in draft.pool.rows_C.tolist()])

    def close(self) -> None:
        self._threads.shutdown()

    async def _catch_up(self, state: UserState, scenario: Scenario) -> list[str]:
        """What another process wrote before this request holds in its answer."""
        model = self.live.current.model
        if model is not None and scenario not in model.scenarios:
            await self.live.state.use_scenarios(self.scenarios.all())
        if state.catalogue_revision <= self.live.current.catalogue.revision:
            return []
        try:
            await self.hold(self.follower.catch_up(state.catalogue_revision), CATCH_UP_SECONDS)
        except Unavailable:
            return ["catalogue"]
        return []

    async def _profile(self, request: SlateRequest, state: UserState) -> tuple[Float32Array | None, bool]:
        """The vector of the profile to go by, and whether this shopper may be recognised at all."""
        known = [user for user in (request.user, state.profile) if user is not None]
        if not all(user.consent.personalize for user in known):
            return None, False
        text = user_text(known[0]) if known and self.live.current.model else ""
        return (await self.profiles.vector(text) if text.strip() else None), True

    async def _in_thread(self, work: Callable[[*Args], Result], *args: *Args) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    def _scenario_or_none(self, name: str) -> Scenario | None:
        try:
            return self.scenarios.get(name)
        except NotFound:
            return None


def make_slate(draft: Draft, degraded: tuple[str, ...]) -> Slate:
    request, live = draft.asked.request, draft.live
    item_ids = [live.catalogue.id_at(pick.row) for pick in draft.picks]
    shown = fields_of(live, item_ids, request.fields, draft.asked.now)
    items = tuple(
        SlateItem(
            item_id=item_id,
            position=position,
            score=round(pick.score, 6),
            sources=pick.sources,
            cold=live.is_cold(pick.row),
            explored=pick.is_explored,
            propensity=pick.propensity,
            fields=shown.get(item_id, {}),
            reason=draft.reasons.get(pick.row),
        )
        for position, (item_id, pick) in enumerate(zip(item_ids, draft.picks, strict=True), start=1)
    )
    return Slate(
        recommendation_id=str(ULID()),
        scenario=request.scenario,
        model_version=live.model_version,
        items=items,
        fallbacks=tuple(draft.fallbacks),
        degraded=degraded,
        diagnostics=diagnose(draft, degraded) if request.diagnostics else None,
    )


def impression_of(slate: Slate, request: SlateRequest, shown_at: datetime) -> Impression:
    return Impression(
        recommendation_id=slate.recommendation_id,
        scenario=slate.scenario,
        model_version=slate.model_version or "none",
        shown_at=shown_at,
        item_ids=tuple(item.item_id for item in slate.items),
        scores=tuple(item.score for item in slate.items),
        propensities=tuple(item.propensity for item in slate.items),
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
