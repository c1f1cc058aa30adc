"""A user and a session together: each event once, the greatest figure of each item, and nobody's own figures changed."""

from __future__ import annotations

from app.feedback.state import MAX_HISTORY, History, HistoryEntry
from app.stores.redis.part import greatest, merge_greatest, merge_histories


def acts(*numbers: int) -> History:
    return History(HistoryEntry(f"i{n}", "click", float(n), f"e{n:03}") for n in numbers)


def numbers(history: History) -> list[int]:
    return [int(entry.occurred_at) for entry in history]


def test_histories_of_two_are_one_by_time_whoever_comes_again():
    user, session = acts(1, 3, 4), acts(2, 3)
    for _ in range(2):
        assert numbers(merge_histories([user, session, []])) == [1, 2, 3, 4]
    assert merge_histories([user, session]) is merge_histories([user, [], session])
    assert numbers(merge_histories([user, acts(2, 3)])) == [1, 2, 3, 4]
    assert numbers(merge_histories([user, acts(5)])) == [1, 3, 4, 5]
    assert numbers(merge_histories([user, session])) == [1, 2, 3, 4]
    assert numbers(merge_histories([user, session, acts(0)])) == [0, 1, 2, 3, 4]
    assert numbers(merge_histories([list(user), list(session)])) == [1, 2, 3, 4]
    assert numbers(merge_histories([acts(*range(0, 180, 2)), acts(*range(1, 180, 2))])) == list(range(80, 180))
    assert (user, session) == (acts(1, 3, 4), acts(2, 3))
    assert len(merge_histories([acts(*range(MAX_HISTORY)), session])) == MAX_HISTORY


def test_who_is_alone_is_given_what_is_held():
    user = acts(1, 2)
    assert merge_histories([user, []]) is user
    assert merge_histories([list(user)]) == user
    assert merge_histories([[], ()]) == ()
    figures = {"tea": 1.0}
    assert merge_greatest([figures, {}]) is figures
    assert merge_greatest([{}, {}]) == {}


def test_of_each_item_the_greatest_figure_stands_and_the_parts_stay_as_they_are():
    user, session = {"tea": 2.0, "milk": 0.0, "rod": 1.0}, {"tea": 1.0, "rod": 3.0, "pan": 0.0}
    assert merge_greatest([user, session]) == {"tea": 2.0, "milk": 0.0, "rod": 3.0, "pan": 0.0}
    assert user == {"tea": 2.0, "milk": 0.0, "rod": 1.0}
    assert session == {"tea": 1.0, "rod": 3.0, "pan": 0.0}
    assert greatest(user, 3) is user
    assert greatest(user, 2) == {"tea": 2.0, "rod": 1.0}
