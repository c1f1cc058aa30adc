"""From a request to the model's candidates: the shopper's history folded, one row of the scenario table, the sources' lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from app.features.users import KINDS, UserBatch, fold_events
from app.feedback.state import History, HistoryEntry
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

NOTE = "acts"  # beside a history: the snapshot that its rows are of, and its `Acts`


@dataclass(frozen=True, slots=True)
class Call:
    """One slate's candidates: at most num. weights: of the sources."""

    asked: Asked
    admission: Admission
    weights: Mapping[str, float]
    num: int


class Acts(NamedTuple):
    """On items that have a vector: their rows, kinds (see KINDS) and unix seconds. Not to be written to."""

    row_E: Int64Array
    kind_E: Int64Array
    at_E: NDArray[np.float64]


NO_ACTS = Acts(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def retrieve_all(calls: Sequence[Call], live: LiveSnapshot) -> list[Candidates]:
    """Of independent requests. Those that ask the same sources for items under the same filters go through them as one batch, whatever
    each shopper excludes besides: most of a source's time is spent on being asked at all. live must have a model."""
    assert live.model
    snapshot, together = live.model.snapshot, defaultdict[Hashable, list[int]](list)
    for place, call in enumerate(calls):
        wanted = frozenset([name for name, weight in call.weights.items() if weight > 0])
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
    acts, starts = [NO_ACTS], [0]
    for one in asked:
        before = len(acts)
        if one.personal and one.state.history:
            acts.append(_acts_of(one.state.history, live))
        if viewed := one.request.context_items:
            acts.append(_acts(viewed, ["context"] * len(viewed), [one.now.timestamp()] * len(viewed), live))
        starts.append(starts[-1] + sum([len(of_one.row_E) for of_one in acts[before:]]))
    together = acts[-1] if len(acts) <= 2 else Acts(*map(np.concatenate, zip(*acts, strict=True)))
    return *together, np.asarray(starts, np.int64)


def _acts_of(history: tuple[HistoryEntry, ...], live: LiveSnapshot) -> Acts:
    """Noted beside a history that comes again."""
    noted = history.notes.get(NOTE) if isinstance(history, History) else None
    if noted is not None and noted[0]() is live:
        acts: Acts = noted[1]
        return acts
    item_ids, kinds, at, _ = zip(*history, strict=True)
    acts = _acts(item_ids, kinds, at, live)
    if isinstance(history, History):
        history.notes[NOTE] = ref(live), acts
    return acts


def _acts(item_ids: Sequence[str], kinds: Sequence[str], at: Sequence[float], live: LiveSnapshot) -> Acts:
    number_of = KINDS.get
    row_E = live.history_rows(item_ids)
    kind_E, at_E = np.asarray([number_of(kind, 0) for kind in kinds], np.int64), np.asarray(at, np.float64)
    known_E = row_E != NOWHERE
    return Acts(row_E, kind_E, at_E) if known_E.all() else Acts(row_E[known_E], kind_E[known_E], at_E[known_E])


def _has_history(asked: Asked, live: LiveSnapshot) -> bool:
    done = (entry.item_id for entry in asked.state.history) if asked.personal else ()
    return any(live.history_row(item_id) is not None for item_id in chain(done, asked.request.context_items))
