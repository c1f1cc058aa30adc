"""From a request to the model's candidates: the shopper's history folded, one row of the scenario table, the sources' lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from app.features.users import KINDS, HistoryItem, UserBatch, fold_users
from app.retrieval.candidates import Candidates
from app.scenarios.scenario import Scenario
from app.serving.live import LiveModel, LiveSnapshot
from app.serving.moment import active_pins, moment_of
from app.serving.rules import Asked
from app.types import BoolArray


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
    users = fold(asked, live, live.model, scenario)
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
    is_cold = next(_history(asked, live), None) is None
    has_query = asked.words is not None and asked.words.vector_T is not None
    return model.snapshot.resolve(
        scenario.name, scenario.sources, is_cold=is_cold, has_query=has_query, has_pins=bool(active_pins(asked))
    )


def fold(asked: Sequence[Asked], live: LiveSnapshot, model: LiveModel, scenario: Scenario) -> UserBatch:
    """One user for each. Items without a vector leave no trace in the history."""
    profile_BT = np.zeros((len(asked), model.snapshot.manifest.text_dim), np.float32)
    for b, one in enumerate(asked):
        if one.profile_T is not None:
            profile_BT[b] = one.profile_T
    histories = [list(_history(one, live)) for one in asked]
    rows, now = [model.table.row(scenario.name)] * len(asked), [one.now.timestamp() for one in asked]
    return fold_users(
        histories,
        now,
        profile_BT,
        rows,
        moments=[moment_of(one, live, with_seen=model.snapshot.ranks(scenario)) for one in asked],
    )


def _history(asked: Asked, live: LiveSnapshot) -> Iterator[HistoryItem]:
    """What was done, oldest first, and last what is being looked at now."""
    if asked.personal:
        for entry in asked.state.history:
            if (row := live.history_row(entry.item_id)) is not None:
                yield HistoryItem(row, KINDS.get(entry.type, 0), entry.occurred_at)
    for item_id in asked.request.context_items:
        if (row := live.history_row(item_id)) is not None:
            yield HistoryItem(row, KINDS["context"], asked.now.timestamp())
