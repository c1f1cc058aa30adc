from app.learning.splits import leave_one_out, temporal
from tests.unit.learning.builders import Row, log

TEN: list[Row] = [("a", "x", 0), ("a", "y", 1), ("b", "x", 2), ("b", "y", 3), ("b", "z", 4), ("a", "z", 5), ("c", "x", 6),
                  ("c", "y", 7), ("a", "x", 8), ("b", "w", 9), ("a", "z", 10)]  # fmt: skip


def test_temporal_cuts_at_the_quantile_and_drops_what_cannot_be_ranked() -> None:
    split = temporal(log(TEN))
    assert len(split.train) == 10
    assert list(split.users) == []  # a's z is in the past
    assert split.dropped == {"unknown to training": 0, "in the user's past": 1}


def test_temporal_with_repeats_allowed_keeps_them() -> None:
    data = log(TEN)
    split = temporal(data, "allow")
    assert [data.user_ids[user] for user in split.users] == ["a"]
    assert [data.item_ids[row] for row in split.targets[0]] == ["z"]


def test_leave_one_out_takes_the_last_first_event_of_users_with_three() -> None:
    data = log(TEN)
    split = leave_one_out(data)
    found = {data.user_ids[u]: data.item_ids[t[0]] for u, t in zip(split.users, split.targets, strict=True)}
    assert found == {"a": "z"}  # b's w is unknown to training, c has two items only
    assert split.dropped["unknown to training"] == 1


def test_ties_in_time_keep_file_order() -> None:
    data = log([("a", "x", 0), ("a", "y", 0), ("a", "z", 0), ("b", "z", 0), ("b", "x", 0)])
    split = leave_one_out(data)
    assert [data.item_ids[t[0]] for t in split.targets] == ["z"]


def test_a_scenario_is_judged_on_its_own_targets() -> None:
    rows: list[Row] = [
        (u, i, h) for h, (u, i) in enumerate([("a", "x"), ("a", "y"), ("b", "x"), ("b", "z"), ("b", "y")] * 4)
    ]
    rows += [("a", "z", 100)]
    data = log(rows, scenarios=["home"] * (len(rows) - 1) + ["cart"])
    split = temporal(data, "allow")
    places, part = split.in_scenario(data.scenarios.index("cart"))
    assert [data.user_ids[split.users[place]] for place in places] == ["a"]
    assert [data.item_ids[row] for row in part.targets[0]] == ["z"]
