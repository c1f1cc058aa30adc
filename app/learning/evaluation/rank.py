"""Slates of a snapshot for the users of a split, over the whole training catalogue, by the code that serves.

Shapes: U users, B batch, K list length, R rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from app.features.users import HISTORY_LENGTH, HistoryItem, UserBatch, fold_users
from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.splits import Repeats, Split
from app.retrieval.snapshot import CANDIDATES_PER_SOURCE, ScenarioTable, Snapshot
from app.retrieval.sources import SOURCE_NAMES
from app.types import Int64Array

BATCH = 256


def rank(
    snapshot: Snapshot,
    split: Split,
    inputs: Inputs,
    num: int,
    repeats: Repeats,
    weights: Mapping[str, float] | None = None,
) -> Int64Array:
    """Rows int64 [U, num], -1 where the list is shorter. weights: of the sources; none given: as learned for the scenario."""
    topk_UK = np.full((len(split.users), num), -1, np.int64)
    space, table = snapshot.space(), snapshot.scenarios()
    allowed_R = _catalogue(split)
    for place, users, excluded in _batches(snapshot, table, split, inputs, repeats):
        names = [split.train.scenarios[row] for row in users.scenario_B]
        asked = [dict(weights) if weights else snapshot.resolve(name, {}) for name in names]
        found = snapshot.recommend(users, space, table, num, weights=asked, allowed_R=allowed_R, excluded=excluded)
        for b, candidates in enumerate(found):
            topk_UK[place + b, : len(candidates.rows_C)] = candidates.rows_C
    return topk_UK


def judged_lists(
    snapshot: Snapshot, split: Split, inputs: Inputs, repeats: Repeats
) -> tuple[list[dict[str, Int64Array]], list[str]]:
    """What every source proposes to every user, and the scenario each was asked in: the material of the fusion fit."""
    lists: list[dict[str, Int64Array]] = []
    asked: list[str] = []
    space, table = snapshot.space(), snapshot.scenarios()
    for _, users, excluded in _batches(snapshot, table, split, inputs, repeats):
        lists += snapshot.find(
            users, space, table, CANDIDATES_PER_SOURCE, set(SOURCE_NAMES), _catalogue(split), excluded
        )
        asked += [split.train.scenarios[row] for row in users.scenario_B]
    return lists, asked


def _catalogue(split: Split) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(np.bincount(split.train.item_E, minlength=len(split.train.item_ids)) > 0)


def _batches(
    snapshot: Snapshot, table: ScenarioTable, split: Split, inputs: Inputs, repeats: Repeats
) -> Iterator[tuple[int, UserBatch, list[Int64Array]]]:
    train = split.train
    for place in range(0, len(split.users), BATCH):
        users = split.users[place : place + BATCH].tolist()
        past = [train.of(user) for user in users]
        batch = fold_users(
            [history(train, events) for events in past],
            list(split.now[place : place + BATCH]),
            inputs.profile_UT[users],
            [last_scenario(train, events) for events in past],
        )
        nothing = np.empty(0, np.int64)
        excluded = [
            np.unique(train.item_E[events]).astype(np.int64) if repeats == "exclude" else nothing for events in past
        ]
        yield place, batch, excluded


def history(train: Interactions, events: slice) -> list[HistoryItem]:
    newest = slice(max(events.start, events.stop - 2 * HISTORY_LENGTH), events.stop)
    columns = (train.item_E[newest].tolist(), train.kind_E[newest].tolist(), train.at_E[newest].tolist())
    return [HistoryItem(*entry) for entry in zip(*columns, strict=True)]


def last_scenario(train: Interactions, events: slice) -> int:
    """Where the user was last seen; the target's own scenario is not looked at."""
    return int(train.scenario_E[events.stop - 1]) if events.stop > events.start else 0
