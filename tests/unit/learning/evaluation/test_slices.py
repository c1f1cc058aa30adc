"""Who is judged in which slice, on a log small enough to count by hand."""

import numpy as np
import pytest

from app.learning.dataset import Interactions
from app.learning.evaluation import slices
from app.learning.evaluation.compare import judge
from app.learning.evaluation.slices import by_history, by_item_counts, new_items, scenario_summary, strangers
from app.learning.splits import Split, temporal
from tests.unit.learning.builders import Row, log

# 45 events of the past and 5 of the future: u0 has nine events and u1 three; "one" has one, "none" has none, both go on.
PAST: list[Row] = [(f"w{n % 6}", f"i{(n + n // 6) % 5}", n) for n in range(32)]
PAST += [("u0", f"i{n}", 32 + n) for n in range(9)] + [("u1", f"i{n}", 41) for n in range(3)] + [("one", "i0", 42)]
FUTURE: list[Row] = [("u0", "new", 50), ("u1", "i4", 51), ("one", "i1", 52), ("none", "i0", 53), ("u1", "new", 54)]


@pytest.fixture
def data() -> Interactions:
    return log(PAST + FUTURE)


def names(split: Split) -> dict[str, list[str]]:
    ids, items = split.train.user_ids, split.train.item_ids
    return {ids[user]: [items[row] for row in rows] for user, rows in zip(split.users, split.targets, strict=True)}


def test_who_counts_where(data: Interactions) -> None:
    assert names(temporal(data)) == {"u1": ["i4"]}
    assert names(strangers(data, "temporal", "exclude", 0)) == {"one": ["i1"], "none": ["i0"]}
    assert names(new_items(data, "temporal", "exclude", 0)) == {"u0": ["new"], "u1": ["new"]}
    assert names(strangers(data, "loo", "exclude", 0)) == {}


def test_users_are_sliced_by_their_training_events(data: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "MIN_SLICE_USERS", 1)
    everyone = temporal(data).joined(strangers(data, "temporal", "exclude", 0))
    assert everyone.past_counts_U.tolist() == [3, 1, 0]
    lists = np.full((3, 50), -1, np.int64)
    lists[[0, 2], 0] = [everyone.targets[0][0], everyone.targets[2][0]]
    found = by_history(lists, everyone, np.zeros((len(data.item_ids), 1), np.float32))
    assert {name: (of["num_users"], of["hr@10"]["mean"]) for name, of in found.items()} == {
        "0": (1, 1.0),
        "1-4": (2, 0.5),
    }


def test_items_are_sliced_by_theirs_and_other_targets_do_not_count(
    data: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "MIN_SLICE_USERS", 1)
    train = temporal(data).train
    rare, known = data.item_ids.index("i7"), data.item_ids.index("i0")
    judged = Split(train, np.array([0]), [np.array([rare, known])], [np.zeros(2, np.int64)], [0.0], {})
    lists = np.full((1, 50), -1, np.int64)
    lists[0, 0] = known
    found = by_item_counts(lists, judged, np.zeros((len(data.item_ids), 1), np.float32))
    assert {name: (of["targets"], of["recall@10"]["mean"]) for name, of in found.items()} == {
        "1-9": (1, 0.0),
        "10+": (1, 1.0),
    }


def test_macro_mean_and_worst_scenario() -> None:
    data = log(PAST)
    split = Split(data, np.array([0]), [np.array([3])], [np.zeros(1, np.int64)], [0.0], {})
    texts = np.zeros((len(data.item_ids), 1), np.float32)
    first, never = (judge(np.array([[row, -1]]), split, texts) for row in (3, 4))
    found = scenario_summary({"home": first, "cart": never, "late": first})
    assert found["macro"]["hr@10"] == pytest.approx(2 / 3)
    assert found["worst"] == {"scenario": "cart", "ndcg@10": 0.0}
    assert scenario_summary({}) == {}
