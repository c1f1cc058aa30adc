"""Validation cases as the service meets them: what did the user want next, in this scenario, given all before it?

The evaluation protocol asks once per user at the cut. A live slate is asked for in the middle of a visit, where the last click
says most; weights fitted on these cases carry that over.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.learning.dataset import Interactions
from app.learning.evaluation.rank import Ask
from app.learning.splits import Repeats
from app.types import Int64Array

MAX_PER_SCENARIO, MAX_CASES = 600, 4_000
Cases = tuple[list[Ask], list[Int64Array]]


def next_event_cases(
    data: Interactions, after: float, known_N: Int64Array, seed: int, repeats: Repeats = "exclude"
) -> Cases:
    """Asks before target events later than `after` on items new to the user, and the item of each.

    known_N: training events of each item; an item without any cannot be ranked. At most MAX_PER_SCENARIO of each scenario.
    repeats "allow": on items the user had before, too.
    """
    rng = np.random.default_rng(seed)
    chance_E = rng.random(len(data))
    is_new_E = ~data.is_repeat_E if repeats == "exclude" else np.ones(len(data), np.bool_)
    wanted_E = data.is_target_E & is_new_E & (data.at_E > after) & (known_N[data.item_E] > 0)
    chosen: list[int] = []
    for row in range(len(data.scenarios)):
        events = np.flatnonzero(wanted_E & (data.scenario_E == row))
        chosen += events[np.argsort(chance_E[events])[:MAX_PER_SCENARIO]].tolist()
    chosen = sorted(chosen, key=lambda event: chance_E[event])[:MAX_CASES]
    asks = [_before(data, event) for event in chosen]
    return asks, [data.item_E[event : event + 1].astype(np.int64) for event in chosen]


def without_history(asks: list[Ask]) -> list[Ask]:
    """The same asks by somebody of whom nothing but the profile is known. What they had stays out where repeats do, or being right about the
    past would count as wrong."""
    return [replace(ask, past=slice(ask.past.start, ask.past.start), had=ask.past) for ask in asks]


def _before(data: Interactions, event: int) -> Ask:
    user = int(data.user_E[event])
    past = slice(data.of(user).start, event)
    return Ask(user, past, float(data.at_E[event]), int(data.scenario_E[event]))
