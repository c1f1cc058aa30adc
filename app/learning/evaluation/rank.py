"""Slates of a snapshot for the users of a split, over the whole training catalogue, by the code that serves.

Shapes: U users, A asks, B batch, K list length, N items of the data, R rows of the snapshot's space.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from app.catalogue.records import items_of
from app.features.moment import NO_MOMENT, Moment
from app.features.users import HISTORY_LENGTH, KINDS, PAD, HistoryItem, UserBatch, fold_users
from app.feedback.seen import NO_ACT
from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.splits import Repeats, Split
from app.learning.trends import TrendLog
from app.retrieval.candidates import NUM_RANKED, Candidates, Ranked
from app.retrieval.ranker import Unordered, weights_are_learned
from app.retrieval.snapshot import CANDIDATES_PER_SOURCE, Snapshot
from app.retrieval.sources import TRENDING
from app.scenarios.scenario import Scenario
from app.types import Attributes, BoolArray, Float32Array, Int64Array

BATCH = 256
WHOLE_SHOP = 0  # scenario row
UNCONFIGURED = Scenario("", "")
NO_ACT_KINDS = [KINDS[name] for name in NO_ACT if name in KINDS]


@dataclass(frozen=True, slots=True)
class Ask:
    """One slate asked for: by a user row with this past (places in the log), at this time, in this scenario row.

    had: events whose items are not to be shown again, where that is not the past. place: (device, country) it was asked from.
    out: items that are kept out anyway. seen_until: only what was shown before counts as seen; none given: before `now`.
    """

    user: int
    past: slice
    now: float
    scenario: int
    had: slice | None = None
    place: tuple[str, str] = ("", "")
    out: Int64Array | None = None
    seen_until: float | None = None


def asks_of(split: Split, scenario: int | None = None) -> list[Ask]:
    """One for each judged user; scenario None: the one they were last seen in (the target's own is not looked at)."""
    train = split.train
    return [
        Ask(user, past := train.of(user), now, last_scenario(train, past) if scenario is None else scenario)
        for user, now in zip(split.users.tolist(), split.now, strict=True)
    ]


class Batch(NamedTuple):
    """Asks folded together. place: of the first one. names: of their scenarios. excluded: rows not to be shown to each."""

    place: int
    users: UserBatch
    names: list[str]
    excluded: list[Int64Array]


class Ranker:
    """Asks a snapshot on behalf of the users of some interactions.

    The snapshot may be an older one that never saw some of the items and scenarios: those ride in its delta and are known by
    their text, just as the service would have it.
    """

    def __init__(self, snapshot: Snapshot, data: Interactions, inputs: Inputs, *, use_ranker: bool = True) -> None:
        """use_ranker: False ranks by the fusion alone, as if the snapshot had no ranker."""
        self.snapshot, self.data, self.inputs, self.use_ranker = snapshot, data, inputs, use_ranker
        trained_N = np.asarray([snapshot.row_of.get(item_id, PAD) for item_id in data.item_ids], np.int64)
        new = np.flatnonzero(trained_N == PAD)
        delta = items_of(inputs.item_frame[new.tolist()]) if len(new) else []
        self.space = snapshot.space(delta, inputs.text_NT[new])
        self.rows_N = trained_N
        self.rows_N[new] = len(snapshot.item_ids) + np.arange(len(new))
        self.back_R = np.full(len(self.space), PAD, np.int64)
        self.back_R[self.rows_N] = np.arange(len(self.rows_N))
        named = [Scenario(name=name, description="") for name in data.scenarios]
        self.table = snapshot.scenarios(named, inputs.scenario_text_ST)

    def rank(
        self,
        split: Split,
        num: int,
        repeats: Repeats,
        weights: Mapping[str, float] | None = None,
        scenario: int | None = None,
        anywhere: bool = False,
    ) -> Int64Array:
        """The rows of `slates`."""
        return self.slates(split, num, repeats, weights, scenario, anywhere=anywhere)[0]

    def slates(
        self,
        split: Split,
        num: int,
        repeats: Repeats,
        weights: Mapping[str, float] | None = None,
        scenario: int | None = None,
        candidates_N: BoolArray | None = None,
        anywhere: bool = False,
    ) -> tuple[Int64Array, Float32Array]:
        """Rows of the data int64 [U, num], -1 where the list is shorter, and their scores.

        weights: of the sources; none given: as learned for the scenario. scenario: the one asked for; none given: the one each
        user was last seen in. candidates_N: items that may be shown; none given: those with training events. anywhere: the slate
        will be judged by what is wanted in any scenario, so it is asked for in the whole shop, whose weights were fitted on that.
        """
        allowed_R = self.allowed(split) if candidates_N is None else self._allowed(candidates_N)
        scenario = WHOLE_SHOP if anywhere else scenario
        return self.fused(split.train, asks_of(split, scenario), num, repeats, allowed_R, weights, anywhere)

    def fused(
        self,
        log: Interactions,
        asks: Sequence[Ask],
        num: int,
        repeats: Repeats,
        allowed_R: BoolArray,
        weights: Mapping[str, float] | None = None,
        anywhere: bool = False,
    ) -> tuple[Int64Array, Float32Array]:
        """The slate of each ask, as `slates` gives them."""
        topk_AK = np.full((len(asks), num), -1, np.int64)
        scores_AK = np.full((len(asks), num), -np.inf, np.float32)
        with_trends = not weights or weights.get(TRENDING, 0.0) > 0
        ranked = self.use_ranker and not weights and self.snapshot.ranker.runner is not None
        batches = self.batches(log, asks, repeats, with_trends=with_trends, for_ranking=ranked)
        for place, users, names, excluded in batches:
            cold = [ask.past.stop == ask.past.start for ask in asks[place : place + len(names)]]
            asked = [
                dict(weights) if weights else self.snapshot.resolve("" if anywhere else name, {}, is_cold=is_cold)
                for name, is_cold in zip(names, cold, strict=True)
            ]
            found = self.snapshot.recommend(
                users, self.space, self.table, max(num, NUM_RANKED) if ranked else num, weights=asked,
                allowed_R=allowed_R, excluded=excluded, for_ranking=ranked,
            )  # fmt: skip
            scores = [candidates.scores_C for candidates in found]
            if ranked:
                unordered = [
                    Unordered(candidates, "" if anywhere else name)
                    for candidates, name in zip(found, names, strict=True)
                ]
                scores = [order.scores_C for order in self.snapshot.ordered(unordered, self.space, self.table)]
            for a, (candidates, scores_C) in enumerate(zip(found, scores, strict=True), start=place):
                best_C = np.argsort(-scores_C, kind="stable")[:num]
                topk_AK[a, : len(best_C)] = self.back_R[candidates.rows_C[best_C]]
                scores_AK[a, : len(best_C)] = scores_C[best_C]
        return topk_AK, scores_AK

    def source_lists(
        self, log: Interactions, asks: Sequence[Ask], known: Split, repeats: Repeats
    ) -> list[dict[str, Ranked]]:
        """What every source proposes to every ask: the material of the fusion fit. known: whose training items may be shown."""
        lists: list[dict[str, Ranked]] = []
        allowed_R = self.allowed(known)
        for _, users, _names, excluded in self.batches(log, asks, repeats, with_trends=True):
            lists += self.snapshot.find(
                users, self.space, self.table, CANDIDATES_PER_SOURCE, set(self.snapshot.learnable), allowed_R, excluded
            )
        return [
            {name: Ranked(self.back_R[rows], scores) for name, (rows, scores) in of_user.items()} for of_user in lists
        ]

    def candidates(
        self, log: Interactions, asks: Sequence[Ask], known: Split, repeats: Repeats, scenarios: Mapping[str, Scenario],
    ) -> Iterator[Candidates]:  # fmt: skip
        """What the ranker would be given for each ask; rows of the space. scenarios: as configured: what sources they ask for, and for how
        long a purchase keeps an item away where past items may be shown."""
        allowed_R = self.allowed(known)
        sources = {s.name: s.sources for s in scenarios.values() if weights_are_learned(s.sources)}
        if repeats == "allow":
            asks = [self._kept_away(log, ask, scenarios.get(log.scenarios[ask.scenario], UNCONFIGURED)) for ask in asks]
        for place, users, names, excluded in self.batches(log, asks, repeats, with_trends=True, for_ranking=True):
            cold = [ask.past.stop == ask.past.start for ask in asks[place : place + len(names)]]
            weights = [
                self.snapshot.resolve(name, sources.get(name, {}), is_cold=is_cold)
                for name, is_cold in zip(names, cold, strict=True)
            ]
            yield from self.snapshot.recommend(
                users, self.space, self.table, NUM_RANKED, weights=weights, allowed_R=allowed_R, excluded=excluded,
                for_ranking=True,
            )  # fmt: skip

    def _kept_away(self, log: Interactions, ask: Ask, scenario: Scenario) -> Ask:
        """With what the service's rules would exclude: bought lately, or disliked."""
        past = np.arange(ask.past.start, ask.past.stop)
        since = ask.now - scenario.exclude.purchased_days * 86_400.0
        bought = (log.kind_E[past] == KINDS["purchase"]) & (log.at_E[past] >= since)
        disliked = log.kind_E[past] == KINDS["dislike"]
        return replace(ask, out=np.unique(log.item_E[past[bought | disliked]]))

    def allowed(self, split: Split) -> BoolArray:
        """bool [R]: what the training part of the split has an event of."""
        return self._allowed(np.asarray(np.bincount(split.train.item_E, minlength=len(self.rows_N)) > 0))

    def _allowed(self, candidates_N: BoolArray) -> BoolArray:
        allowed_R = np.zeros(len(self.space), np.bool_)
        allowed_R[self.rows_N[candidates_N]] = True
        return allowed_R

    def batches(
        self, log: Interactions, asks: Sequence[Ask], repeats: Repeats, *, with_trends: bool = False,
        for_ranking: bool = False,
    ) -> Iterator[Batch]:  # fmt: skip
        """with_trends: each ask knows what was trending before it, which costs about 1 ms for a different moment. for_ranking: and what
        the ranker reads beyond that."""
        nothing = np.empty(0, np.int64)
        trends = TrendLog(log, self.rows_N) if with_trends else None
        for place in range(0, len(asks), BATCH):
            part = asks[place : place + BATCH]
            names = [log.scenarios[ask.scenario] for ask in part]
            batch = fold_users(
                [self._history(log, ask.past) for ask in part],
                [ask.now for ask in part],
                self.inputs.profile_UT[[ask.user for ask in part]],
                [self.table.row(name) for name in names],
                moments=[self._moment(log, ask, trends, for_ranking) for ask in part] if trends or for_ranking else (),
            )
            excluded = [
                np.unique(self.rows_N[log.item_E[ask.had or ask.past]]) if repeats == "exclude"
                else nothing if ask.out is None else self.rows_N[ask.out]
                for ask in part
            ]  # fmt: skip
            yield Batch(place, batch, names, excluded)

    def _moment(self, log: Interactions, ask: Ask, trends: TrendLog | None, for_ranking: bool) -> Moment:
        moment = trends.at(ask.now, ask.scenario) if trends else NO_MOMENT
        if not for_ranking:
            return moment
        acts = np.arange(ask.past.start, ask.past.stop)
        acts = acts[~np.isin(log.kind_E[acts], NO_ACT_KINDS)]
        until = ask.now if ask.seen_until is None else ask.seen_until
        items, times = log.shown.seen(ask.user, until, log.item_E[acts], log.at_E[acts])
        context: Attributes = dict(zip(("device", "country"), ask.place, strict=True))
        return replace(moment, at=ask.now, seen_rows_K=self.rows_N[items], seen_times_K=times, context=context)

    def _history(self, train: Interactions, events: slice) -> list[HistoryItem]:
        newest = slice(max(events.start, events.stop - HISTORY_LENGTH), events.stop)
        rows = self.rows_N[train.item_E[newest]].tolist()
        entries = zip(rows, train.kind_E[newest].tolist(), train.at_E[newest].tolist(), strict=True)
        return [HistoryItem(*entry) for entry in entries]


def last_scenario(train: Interactions, events: slice) -> int:
    """Where the user was last seen; the target's own scenario is not looked at."""
    return int(train.scenario_E[events.stop - 1]) if events.stop > events.start else 0
