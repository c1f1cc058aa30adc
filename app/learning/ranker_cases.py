"""The material of the ranker: what it would have been given for slates of the validation cut, and what followed.

From logged slates where there are any: what of them was looked at and what was clicked, put into the cart, bought; beside them, and
where no slate was logged, the next event of a visit (or the protocol's targets), whose negatives are the other candidates.

Shapes: U cases, C candidates of a case, F features, H heads, X shown items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.features.ranking import FEATURES
from app.features.users import KINDS
from app.learning.dataset import Interactions
from app.learning.evaluation.rank import Ask, Ranker
from app.learning.next_events import Cases, without_history
from app.learning.showings import ACT_SECONDS, ACTS, Showings
from app.learning.splits import Repeats, Split
from app.retrieval.candidates import NUM_RANKED
from app.retrieval.ranker import Unordered
from app.scenarios.scenario import Scenario
from app.types import BoolArray, Float32Array, Int32Array, Int64Array, Progress

MAX_SLATES, MAX_OTHERS, MAX_COLD = 800, 700, 200  # cases of each kind; together they bound memory (100 MB) and time
MIN_SLATES = 100  # logged slates below which only next events are looked at
NUM_HEADS = len(ACTS)


@dataclass(frozen=True, eq=False)
class Outcome:
    """One case before its candidates are known. items, labels_IH: what was acted on and how, or shown. position_I: 0 where it was not shown
    by a logged slate."""

    ask: Ask
    items: Int64Array
    labels_IH: BoolArray
    position_I: Int32Array


@dataclass(frozen=True, eq=False)
class RankerCases:
    """features_UCF: half precision, to hold more cases. known_UC: False for padding. labels_UCH: what followed, by head. position_UC: place
    in a logged slate, 0 for what it did not hold. had_UC: an item of the shopper's past. scenario_U: rows of the data's. cold_U: asked
    without a history."""

    features_UCF: NDArray[np.float16]
    known_UC: BoolArray
    labels_UCH: BoolArray
    position_UC: Int32Array
    fused_UC: Float32Array
    had_UC: BoolArray
    scenario_U: Int64Array
    user_U: Int64Array
    cold_U: BoolArray

    def __len__(self) -> int:
        return len(self.user_U)

    def subset(self, cases: NDArray[np.integer] | BoolArray) -> RankerCases:
        return RankerCases(*(getattr(self, name)[cases] for name in self.__dataclass_fields__))

    @property
    def num_slates(self) -> int:
        return int((self.position_UC > 0).any(1).sum())


def slates_after(data: Interactions, cut: float, known_N: Int64Array, seed: int) -> list[Outcome]:
    """Logged slates later than `cut`, at most MAX_SLATES, drawn evenly from the scenarios. Not those later than the newest event, which may
    be a cut of its own: what followed them is not known."""
    shown, newest = data.shown, float(data.at_E.max(initial=0.0))
    at_least_one = np.diff(data.starts_U1) > 0
    fresh_X = (
        (shown.at_X > cut)
        & (shown.at_X <= newest)
        & at_least_one[shown.user_X]
        & (known_N[shown.item_X] > 0)
        & (shown.position_X > 0)
    )
    shown = shown.where(fresh_X)
    slates, first_X = np.unique(shown.slate_X, return_index=True)
    if len(slates) < MIN_SLATES:
        return []
    order = np.random.default_rng(seed).permutation(len(slates))
    scenario = shown.scenario_X[first_X[order]]
    place = _places_within(scenario)  # the first of every scenario, then the second, …
    chosen = slates[order[np.argsort(place, kind="stable")[:MAX_SLATES]]]
    return list(_outcomes(data, shown.where(np.isin(shown.slate_X, chosen)), newest))


def _places_within(groups: NDArray[np.integer]) -> Int64Array:
    """0 for the first member of each group, 1 for the second, …"""
    order = np.argsort(groups, kind="stable")
    starts = np.r_[0, np.flatnonzero(np.diff(groups[order])) + 1]
    place = np.empty(len(groups), np.int64)
    place[order] = np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
    return place


def _outcomes(data: Interactions, shown: Showings, newest: float) -> Iterator[Outcome]:
    order = np.argsort(shown.slate_X, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(shown.slate_X[order])) + 1):
        user, at = int(shown.user_X[part[0]]), float(shown.at_X[part].min())
        whole = data.of(user)
        past = slice(whole.start, whole.start + int(np.searchsorted(data.at_E[whole], at)))
        ask = Ask(user, past, at, int(shown.scenario_X[part[0]]), place=shown.places[shown.place_X[part[0]]])
        labels_IH = newest >= shown.acted_at_HX[:, part].T
        yield Outcome(ask, shown.item_X[part].astype(np.int64), labels_IH, shown.position_X[part])


def outcomes_of(data: Interactions, cases: Cases) -> list[Outcome]:
    """Of asks and what they wanted: all of it is clicked; what followed within days says what was put into the cart and bought. The asks may
    be of a part of the data, which numbers its events otherwise."""
    kinds = [[KINDS[name] for name in names if name in KINDS] for names in ACTS]
    found = []
    for ask, wanted in zip(*cases, strict=True):
        events = data.of(ask.user)
        first, last = np.searchsorted(data.at_E[events], (ask.now, ask.now + max(ACT_SECONDS)), "left")
        after = np.arange(events.start + first, events.start + last)
        labels_IH = np.ones((len(wanted), NUM_HEADS), np.bool_)
        for head, of_head in enumerate(kinds[1:], start=1):
            acted = data.item_E[after[np.isin(data.kind_E[after], of_head)]]
            labels_IH[:, head] = np.isin(wanted, acted)
        before = replace(ask, seen_until=_shown_at(data.shown, ask, wanted))
        found.append(Outcome(before, wanted, labels_IH, np.zeros(len(wanted), np.int32)))
    return found


def _shown_at(shown: Showings, ask: Ask, wanted: Int64Array) -> float:
    """When the slate that led to it was asked for: what it showed was not known by then."""
    whose = shown.of(ask.user)
    at_X = shown.at_X[whose][np.isin(shown.item_X[whose], wanted)]
    at_X = at_X[(at_X <= ask.now) & (at_X >= ask.now - ACT_SECONDS[0])]
    return float(at_X.max()) if len(at_X) else ask.now


def drawn(outcomes: Sequence[Outcome], num: int, seed: int) -> list[Outcome]:
    if len(outcomes) <= num:
        return list(outcomes)
    return [outcomes[place] for place in np.sort(np.random.default_rng(seed).permutation(len(outcomes))[:num])]


def as_strangers(outcomes: Sequence[Outcome], num: int, seed: int) -> list[Outcome]:
    """The same, asked by people of whom nothing is known."""
    some = drawn(outcomes, num, seed)
    asks = without_history([outcome.ask for outcome in some])
    return [replace(outcome, ask=replace(ask, seen_until=-np.inf)) for outcome, ask in zip(some, asks, strict=True)]


def make_cases(
    ranker: Ranker, log: Interactions, outcomes: Sequence[Outcome], known: Split, repeats: Repeats,
    scenarios: Mapping[str, Scenario], progress: Progress,
) -> RankerCases:  # fmt: skip
    """Candidates and features of every case, by the code that serves. known: whose training items may be shown."""
    U, C, F = len(outcomes), min(NUM_RANKED, len(ranker.space)), len(FEATURES)
    cases = RankerCases(
        np.zeros((U, C, F), np.float16), np.zeros((U, C), np.bool_), np.zeros((U, C, NUM_HEADS), np.bool_),
        np.zeros((U, C), np.int32), np.zeros((U, C), np.float32), np.zeros((U, C), np.bool_),
        np.asarray([outcome.ask.scenario for outcome in outcomes], np.int64),
        np.asarray([outcome.ask.user for outcome in outcomes], np.int64),
        np.asarray([outcome.ask.past.stop == outcome.ask.past.start for outcome in outcomes], np.bool_),
    )  # fmt: skip
    found = ranker.candidates(log, [outcome.ask for outcome in outcomes], known, repeats, scenarios)
    for u, (outcome, candidates) in enumerate(zip(outcomes, found, strict=True)):
        num, scenario = len(candidates.rows_C), log.scenarios[outcome.ask.scenario]
        if not num:
            continue
        features_FC = ranker.snapshot.features([Unordered(candidates, scenario)], ranker.space, ranker.table)
        cases.features_UCF[u, :num] = np.clip(features_FC.T, -6e4, 6e4)
        items_C = ranker.back_R[candidates.rows_C]
        cases.known_UC[u, :num], cases.fused_UC[u, :num] = True, candidates.scores_C
        cases.had_UC[u, :num] = np.isin(items_C, log.item_E[outcome.ask.had or outcome.ask.past])
        place_of = {item: place for place, item in enumerate(outcome.items.tolist())}
        place_C = np.asarray([place_of.get(item, -1) for item in items_C.tolist()])
        mine = np.flatnonzero(place_C >= 0)
        cases.labels_UCH[u, mine] = outcome.labels_IH[place_C[mine]]
        cases.position_UC[u, mine] = outcome.position_I[place_C[mine]]
        if u % 200 == 0:
            progress("ranker", 0.5 * u / U)
    return cases
