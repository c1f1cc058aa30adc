"""Past and future: the two splits of the evaluation protocol, and the same cuts inside the past for tuning.

`temporal`: events up to and including the 90 % quantile of time train, later ones are targets; users with at least 2 training
events count. `loo`: only the first event of each user-item pair is kept; of users with at least 3 the last one is the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from app.learning.dataset import Interactions
from app.types import BoolArray, Int64Array

Protocol = Literal["temporal", "loo"]
Repeats = Literal["exclude", "allow"]
TRAIN_SHARE = 0.9
MAX_VALIDATION_USERS = 2_000


@dataclass(frozen=True, slots=True)
class Who:
    """Whose future is judged: users with so many training events, wanting items that training knew, or only those it did not."""

    least_events: int = 2
    most_events: int = 2**62
    new_items: bool = False


MAIN = Who()


@dataclass(frozen=True)
class Split:
    """users: rows that are judged. targets: per user, different item rows of the future, of items that training saw somewhere (see `Who`).

    target_scenarios: scenario row of each target. now: unix seconds each user's slate is asked for at.
    dropped: why how many targets went, for the report.
    """

    train: Interactions
    users: Int64Array
    targets: Sequence[Int64Array]
    target_scenarios: Sequence[Int64Array]
    now: Sequence[float]
    dropped: dict[str, int]

    def subset(self, chosen: Int64Array) -> Split:
        """The judged users at these places."""
        places = chosen.tolist()
        return replace(
            self,
            users=self.users[chosen],
            targets=[self.targets[place] for place in places],
            target_scenarios=[self.target_scenarios[place] for place in places],
            now=[self.now[place] for place in places],
        )

    def sampled(self, most: int, seed: int) -> Split:
        """At most so many of the judged users, drawn at random."""
        if len(self.users) <= most:
            return self
        return self.subset(np.sort(np.random.default_rng(seed).choice(len(self.users), most, replace=False)))

    def in_scenario(self, row: int) -> tuple[list[int], Split]:
        """Places of the users with targets in this scenario, and the split of those users and targets only."""
        return self._only([scenarios == row for scenarios in self.target_scenarios])

    def with_items(self, wanted_N: BoolArray) -> tuple[list[int], Split]:
        """The same for targets among these items."""
        return self._only([wanted_N[targets] for targets in self.targets])

    def _only(self, keep: Sequence[BoolArray]) -> tuple[list[int], Split]:
        places = [place for place, kept in enumerate(keep) if kept.any()]
        part = self.subset(np.asarray(places, np.int64))
        return places, replace(
            part,
            targets=[self.targets[place][keep[place]] for place in places],
            target_scenarios=[self.target_scenarios[place][keep[place]] for place in places],
        )

    def joined(self, other: Split) -> Split:
        """The users of both, these first; they must have the same training part."""
        return replace(
            self,
            users=np.concatenate([self.users, other.users]),
            targets=[*self.targets, *other.targets],
            target_scenarios=[*self.target_scenarios, *other.target_scenarios],
            now=[*self.now, *other.now],
        )

    @property
    def past_counts_U(self) -> Int64Array:
        """Training events of each judged user."""
        return np.diff(self.train.starts_U1)[self.users]

    @property
    def num_targets(self) -> int:
        return sum(map(len, self.targets))


def split(data: Interactions, protocol: Protocol, repeats: Repeats = "exclude", who: Who = MAIN) -> Split:
    return temporal(data, repeats, who) if protocol == "temporal" else leave_one_out(data, who)


def validation_cut(data: Interactions, protocol: Protocol, repeats: Repeats, seed: int) -> Split:
    """The same cut inside the training part, for tuning: of ours and of the peers. At most MAX_VALIDATION_USERS users."""
    return split(data, protocol, repeats).sampled(MAX_VALIDATION_USERS, seed)


def temporal(
    data: Interactions, repeats: Repeats = "exclude", who: Who = MAIN, not_before: float = float("-inf")
) -> Split:
    """not_before: unix seconds; the cut is no earlier, whatever the quantile says."""
    cut = float(np.quantile(data.at_E, TRAIN_SHARE)) if len(data) else 0.0
    return temporal_at(data, max(cut, not_before), repeats, who)


def temporal_at(data: Interactions, cut: float, repeats: Repeats = "exclude", who: Who = MAIN) -> Split:
    """cut: unix seconds of the last moment of the past."""
    past_E = data.at_E <= cut
    return _judge(data, data.where(past_E), data.where(~past_E & data.is_target_E), cut, repeats, who)


def leave_one_out(data: Interactions, who: Who = MAIN) -> Split:
    data = data.where(~data.is_repeat_E)
    counts_U = np.diff(data.starts_U1)
    last_E = np.zeros(len(data), np.bool_)
    last_E[data.starts_U1[1:][counts_U >= 3] - 1] = True
    return _judge(data, data.where(~last_E), data.where(last_E), None, "exclude", who)


def _judge(
    data: Interactions, train: Interactions, future: Interactions, cut: float | None, repeats: Repeats, who: Who
) -> Split:
    past_U = np.diff(train.starts_U1)
    counts_U = (past_U >= who.least_events) & (past_U <= who.most_events)
    known_N = np.bincount(train.item_E, minlength=len(data.item_ids)) > 0
    wanted_N = ~known_N if who.new_items else known_N
    users, targets, scenarios, now = [], [], [], []
    dropped = {"known to training" if who.new_items else "unknown to training": 0, "in the user's past": 0}
    for user in np.flatnonzero(counts_U & (np.diff(future.starts_U1) > 0)).tolist():
        items, first = np.unique(future.item_E[future.of(user)], return_index=True)
        keep = wanted_N[items]
        dropped[next(iter(dropped))] += int((~keep).sum())
        if repeats == "exclude":
            past = np.isin(items, train.item_E[train.of(user)])
            dropped["in the user's past"] += int((keep & past).sum())
            keep &= ~past
        if keep.any():
            users.append(user)
            targets.append(items[keep].astype(np.int64))
            scenarios.append(future.scenario_E[future.of(user)][first[keep]].astype(np.int64))
            now.append(cut if cut is not None else float(future.at_E[future.of(user)][0]))
    return Split(train, np.asarray(users, np.int64), targets, scenarios, now, dropped)
