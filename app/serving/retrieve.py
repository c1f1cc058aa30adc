"""From a request to the model's candidates: the shopper's history folded, one row of the scenario table, the sources' lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from app.features.users import KINDS, UserBatch, fold_events
from app.retrieval.candidates import Candidates
from app.scenarios.scenario import Scenario
from app.serving.catalogue_view import NOWHERE
from app.serving.live import LiveModel, LiveSnapshot
from app.serving.moment import active_pins, moment_of
from app.serving.rules import Admission, Asked
from app.types import BoolArray, Int64Array

MAX_OWN_ROWS = (
    100  # what a shopper excludes beyond this is asked for by itself: every list of a batch must be so much longer
)


@dataclass(frozen=True, slots=True)
class Call:
    """One slate's candidates: at most num. weights: of the sources."""

    asked: Asked
    admission: Admission
    weights: Mapping[str, float]
    num: int


def retrieve_all(calls: Sequence[Call], live: LiveSnapshot) -> list[Candidates]:
    """Of independent requests. Those that ask the same sources for items under the same filters go through them as one batch, whatever
    each shopper excludes besides: most of a source's time is spent on being asked at all. live must have a model."""
    assert live.model
    snapshot, together = live.model.snapshot, defaultdict[Hashable, list[int]](list)
    for place, call in enumerate(calls):
        wanted = frozenset(name for name, weight in call.weights.items() if weight > 0)
        alike = (id(call.admission.base), wanted, snapshot.ranks(call.asked.scenario), call.num)
        together[alike if len(call.admission.own_rows) <= MAX_OWN_ROWS else place].append(place)
    found: dict[int, Candidates] = {}
    for places in together.values():
        group = [calls[place] for place in places]
        first, asked, weights = group[0], [call.asked for call in group], [call.weights for call in group]
        is_alone = len(first.admission.own_rows) > MAX_OWN_ROWS
        allowed_R = first.admission.allowed_R if is_alone else first.admission.base.allowed_R
        excluded = None if is_alone else [call.admission.own_rows for call in group]
        users = fold(asked, live, live.model, [one.scenario for one in asked])
        of_group = snapshot.recommend(
            users,
            live.model.space,
            live.model.table,
            first.num,
            weights=weights,
            allowed_R=live.retrievable(allowed_R),
            excluded=excluded,
            for_ranking=snapshot.ranks(first.asked.scenario),
        )
        found.update(zip(places, of_group, strict=True))
    return [found[place] for place in range(len(calls))]


def retrieve(
    asked: Asked, live: LiveSnapshot, allowed_R: BoolArray, scenario: Scenario, weights: Mapping[str, float], num: int
) -> Candidates:
    """At most num allowed rows, best first. live must have a model."""
    return retrieve_each([asked], live, allowed_R, scenario, [weights], num)[0]


def retrieve_each(
    asked: Sequence[Asked],
    live: LiveSnapshot,
    allowed_R: BoolArray,
    scenario: Scenario,
    weights: Sequence[Mapping[str, float]],
    num: int,
) -> list[Candidates]:
    """The same for several versions of a request, in one batch. weights: of each."""
    assert live.model
    users = fold(asked, live, live.model, [scenario] * len(asked))
    return live.model.snapshot.recommend(
        users,
        live.model.space,
        live.model.table,
        num,
        weights=weights,
        allowed_R=live.retrievable(allowed_R),
        for_ranking=live.model.snapshot.ranks(scenario),
    )


def weights_of(asked: Asked, live: LiveSnapshot, model: LiveModel, scenario: Scenario) -> Mapping[str, float]:
    """Of the sources, for this scenario, for whether anything is known of what the shopper did, and for what was asked in words."""
    is_cold = not _has_history(asked, live)
    has_query = asked.words is not None and asked.words.vector_T is not None
    return model.snapshot.resolve(
        scenario.name, scenario.sources, is_cold=is_cold, has_query=has_query, has_pins=bool(active_pins(asked))
    )


def fold(asked: Sequence[Asked], live: LiveSnapshot, model: LiveModel, scenarios: Sequence[Scenario]) -> UserBatch:
    """One user for each, asked for in the scenario given. Items without a vector leave no trace in the history."""
    profile_BT = np.zeros((len(asked), model.snapshot.manifest.text_dim), np.float32)
    for b, one in enumerate(asked):
        if one.profile_T is not None:
            profile_BT[b] = one.profile_T
    moments = [
        moment_of(one, live, with_seen=model.snapshot.ranks(scenario))
        for one, scenario in zip(asked, scenarios, strict=True)
    ]
    rows, now = [model.table.row(scenario.name) for scenario in scenarios], [one.now.timestamp() for one in asked]
    return fold_events(*_histories(asked, live), now, profile_BT, rows, moments=moments)


def _histories(
    asked: Sequence[Asked], live: LiveSnapshot
) -> tuple[Int64Array, Int64Array, NDArray[np.float64], Int64Array]:
    """What each did, oldest first, and last what is being looked at now: rows, kinds and times, and where each begins."""
    item_ids, kinds, at, user = list[str](), list[int](), list[float](), list[int]()
    for b, one in enumerate(asked):
        before = len(item_ids)
        if one.personal and one.state.history:
            done, names, times, _ = zip(*one.state.history, strict=True)
            item_ids += done
            kinds += [KINDS.get(name, 0) for name in names]
            at += times
        viewed = one.request.context_items
        item_ids += viewed
        kinds += [KINDS["context"]] * len(viewed)
        at += [one.now.timestamp()] * len(viewed)
        user += [b] * (len(item_ids) - before)
    row_E, user_E = live.history_rows(item_ids), np.asarray(user, np.int64)
    known_E = row_E != NOWHERE
    starts_B1 = np.searchsorted(user_E[known_E], np.arange(len(asked) + 1))
    return row_E[known_E], np.asarray(kinds, np.int64)[known_E], np.asarray(at, np.float64)[known_E], starts_B1


def _has_history(asked: Asked, live: LiveSnapshot) -> bool:
    done = (entry.item_id for entry in asked.state.history) if asked.personal else ()
    return any(live.history_row(item_id) is not None for item_id in chain(done, asked.request.context_items))
