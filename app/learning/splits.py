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
from app.types import Int64Array

Protocol = Literal["temporal", "loo"]
Repeats = Literal["exclude", "allow"]
TRAIN_SHARE = 0.9


@dataclass(frozen=True)
class Split:
    """users: rows that are judged. targets: per user, different item rows of the future that training saw somewhere.

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

    def in_scenario(self, row: int) -> tuple[list[int], Split]:
        """Places of the users with targets in this scenario, and the split of those users and targets only."""
        kept = [
            targets[scenarios == row] for targets, scenarios in zip(self.targets, self.target_scenarios, strict=True)
        ]
        places = [place for place, targets in enumerate(kept) if len(targets)]
        part = self.subset(np.asarray(places, np.int64))
        return places, replace(
            part,
            targets=[kept[place] for place in places],
            target_scenarios=[np.full(len(kept[place]), row, np.int64) for place in places],
        )

    @property
    def num_targets(self) -> int:
        return sum(map(len, self.targets))


def split(data: Interactions, protocol: Protocol, repeats: Repeats = "exclude") -> Split:
    return temporal(data, repeats) if protocol == "temporal" else leave_one_out(data)


def temporal(data: Interactions, repeats: Repeats = "exclude") -> Split:
    cut = float(np.quantile(data.at_E, TRAIN_SHARE)) if len(data) else 0.0
    past_E = data.at_E <= cut
    return _judge(data, data.where(past_E), data.where(~past_E & data.is_target_E), cut, repeats)


def leave_one_out(data: Interactions) -> Split:
    data = data.where(~data.is_repeat_E)
    counts_U = np.diff(data.starts_U1)
    last_E = np.zeros(len(data), np.bool_)
    last_E[data.starts_U1[1:][counts_U >= 3] - 1] = True
    return _judge(data, data.where(~last_E), data.where(last_E), None, "exclude")


def _judge(data: Interactions, train: Interactions, future: Interactions, cut: float | None, repeats: Repeats) -> Split:
    enough_U = np.diff(train.starts_U1) >= 2
    known_N = np.bincount(train.item_E, minlength=len(data.item_ids)) > 0
    users, targets, scenarios, now = [], [], [], []
    dropped = {"unknown to training": 0, "in the user's past": 0}
    for user in np.flatnonzero(np.diff(future.starts_U1) > 0).tolist():
        if not enough_U[user]:
            continue
        items, first = np.unique(future.item_E[future.of(user)], return_index=True)
        keep = known_N[items]
        dropped["unknown to training"] += int((~keep).sum())
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
