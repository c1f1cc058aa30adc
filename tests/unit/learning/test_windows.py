import numpy as np

from app.learning.windows import NOTHING, Batches, Windows, windows
from tests.unit.learning.builders import log


def test_every_event_stands_in_exactly_one_window_of_its_user() -> None:
    data = log([(f"u{user}", f"i{n % 7}", n) for user, count in enumerate([1, 4, 25, 3]) for n in range(count)])
    rng = np.random.default_rng(0)
    for _ in range(5):
        found = windows(data, 5, rng).events()
        events = found[found != NOTHING]
        assert sorted(events.tolist()) == list(range(len(data)))
        for row in found:
            kept = row[row != NOTHING]
            assert len(set(data.user_E[kept].tolist())) == 1
            assert np.all(np.diff(kept) == 1)
            assert np.all(row[len(kept) :] == NOTHING)


def test_windows_move_between_epochs_for_long_histories_only() -> None:
    data = log([("long", f"i{n}", n) for n in range(40)] + [("short", "i0", 0), ("short", "i1", 1)])
    rng = np.random.default_rng(0)
    starts = {tuple(sorted(windows(data, 10, rng).first_W.tolist())) for _ in range(10)}
    assert len(starts) > 1
    assert all(40 in of_epoch for of_epoch in starts)


def test_batches_hold_every_window_once() -> None:
    data = log([(f"u{user}", f"i{n}", n) for user in range(30) for n in range(user % 9 + 1)])
    rng = np.random.default_rng(0)
    all_windows = windows(data, 4, rng)
    seen = [row[row != NOTHING].tolist() for batch in Batches(all_windows, 8, rng) for row in batch]
    assert sorted(map(tuple, seen)) == sorted(tuple(row[row != NOTHING].tolist()) for row in all_windows.events())


def test_windows_that_hold_something_wanted() -> None:
    found = Windows(np.array([0, 3, 5, 9]), np.array([3, 2, 4, 1]))
    wanted = np.zeros(10, np.bool_)
    wanted[[4, 5, 8]] = True
    assert found.holding(wanted).first_W.tolist() == [3, 5]


def test_a_batch_has_room_for_a_history() -> None:
    assert Windows(np.array([4, 7]), np.array([1, 1])).events().tolist() == [[4, NOTHING], [7, NOTHING]]


def test_batches_hold_about_so_many_events() -> None:
    data = log([(f"u{user}", f"i{n}", n) for user in range(60) for n in range(user % 9 + 1)])
    rng = np.random.default_rng(0)
    made = Batches(windows(data, 20, rng), 30, rng)
    sizes = [int((batch != NOTHING).sum()) for batch in made]
    assert len(made) == len(sizes)
    assert sum(sizes) == len(data)
    assert max(sizes) <= 30 + 9
    widths = [(batch != NOTHING).sum(1) for batch in made]
    assert all(of_batch.max() - of_batch.min() <= 2 for of_batch in widths)
