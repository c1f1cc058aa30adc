from itertools import pairwise

import numpy as np
import pytest
import torch

from app.features.users import KINDS, PAD, HistoryItem, collapse_runs, fold_events, fold_users
from app.model.user_tower import gap_bucket

VIEW, CLICK, BUY, DISLIKE = (KINDS[name] for name in ("view", "click", "purchase", "dislike"))


def test_a_run_on_one_item_counts_once_with_the_strongest_kind() -> None:
    last, kinds = collapse_runs(np.array([7, 7, 7, 8, 7]), np.array([VIEW, BUY, CLICK, VIEW, VIEW]))
    assert last.tolist() == [2, 3, 4]
    assert kinds.tolist() == [BUY, VIEW, VIEW]


def test_runs_end_with_the_user() -> None:
    last, _ = collapse_runs(np.array([7, 7]), np.array([VIEW, VIEW]), np.array([0, 1]))
    assert last.tolist() == [0, 1]


def test_disliking_outweighs_everything_before_it() -> None:
    assert collapse_runs(np.array([7, 7]), np.array([BUY, DISLIKE]))[1].tolist() == [DISLIKE]


def test_histories_stand_oldest_first_with_padding_behind() -> None:
    history = [HistoryItem(3, VIEW, 0.0), HistoryItem(3, CLICK, 3600.0), HistoryItem(5, BUY, 7200.0)]
    batch = fold_users([history, []], [10_800.0, 0.0], np.zeros((2, 4), np.float32), [1, 0], length=4)
    assert batch.history_BL.tolist() == [[3, 5, PAD, PAD], [PAD] * 4]
    assert batch.kinds_BL[0, :2].tolist() == [CLICK, BUY]
    assert batch.ages_BL[0, :2].tolist() == [2.0, 1.0]


def test_only_the_newest_are_kept_and_the_future_is_now() -> None:
    history = [HistoryItem(row, VIEW, float(row)) for row in range(10)]
    batch = fold_users([history], [5.0], np.zeros((1, 4), np.float32), [0], length=3)
    assert batch.history_BL.tolist() == [[7, 8, 9]]
    assert batch.ages_BL.tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("now", [1_764_000_000.0 + offset for offset in (0.0, 0.123457, 17.9, 1e4 / 3, 7e7 / 9)])
def test_whole_minutes_between_events_fall_into_one_bucket_whenever_it_is_asked(now: float) -> None:
    start = 1_763_990_000.0
    history = [HistoryItem(place, 2, start + 60.0 * minutes) for place, minutes in enumerate((0, 1, 4, 11))]
    ages = fold_users([history], [now], np.zeros((1, 4), np.float32), [0]).ages_BL[0, :4]
    gaps = torch.from_numpy((ages[:-1] - ages[1:]).astype(np.float32))
    assert gap_bucket(gaps).tolist() == [1, 2, 3]


def test_events_are_folded_as_runs_are_collapsed() -> None:
    rng = np.random.default_rng(5)
    starts = np.asarray([0, 0, 40, 55])
    row, kind, at = rng.integers(0, 3, 55), rng.integers(0, 14, 55), np.sort(rng.uniform(0, 9e4, 55))
    batch = fold_events(row, kind, at, starts, [9e4] * 3, np.zeros((3, 4), np.float32), [0] * 3, length=20)
    for b, (begin, end) in enumerate(pairwise(starts.tolist())):
        mine = slice(max(begin, end - 20), end)
        last, strongest = collapse_runs(row[mine], kind[mine])
        padding = [PAD] * (20 - len(last))
        assert batch.history_BL[b].tolist() == [*row[mine][last], *padding]
        assert batch.kinds_BL[b, : len(last)].tolist() == strongest.tolist()
        np.testing.assert_allclose(batch.ages_BL[b, : len(last)], (9e4 - at[mine][last]) / 3600)
