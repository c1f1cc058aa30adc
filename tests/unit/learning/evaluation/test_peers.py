"""Peers on logs whose answer is known, and against direct computation."""

from collections.abc import Sequence

import numpy as np
import pytest

from app.learning.dataset import Interactions
from app.learning.evaluation.peers import PEERS
from app.learning.evaluation.peers import ease as ease_module
from app.learning.evaluation.peers.ease import weights
from app.learning.evaluation.peers.item_knn import neighbourhood
from app.learning.evaluation.peers.peer import rank
from app.learning.evaluation.peers.profiles import liked, profiles
from app.learning.evaluation.peers.running import PeerBudget, run_peers
from app.learning.evaluation.peers.tuning import tune_family
from app.learning.splits import Split, leave_one_out
from app.types import no_progress
from tests.unit.learning.builders import Row, log

RED, BLUE = [f"r{n}" for n in range(8)], [f"b{n}" for n in range(8)]
BUDGET = PeerBudget("exclude", seed=0, num_seeds=1, num=5, tuning_seconds=20.0)


def two_tastes(num_users: int = 60) -> list[Row]:
    """Each user has six of the eight items of one colour, in an order of their own."""
    rng = np.random.default_rng(5)
    tastes = [rng.permutation(RED if user % 2 else BLUE)[:6] for user in range(num_users)]
    return [(f"u{user}", item, user + place) for user, items in enumerate(tastes) for place, item in enumerate(items)]


def chain(num_users: int = 60) -> list[Row]:
    """Everybody walks around the same ring of items; only the order tells what comes next."""
    ring = RED + BLUE
    return [
        (f"u{user}", ring[(user + place) % len(ring)], user + place) for user in range(num_users) for place in range(7)
    ]


def hit_rate(name: str, data: Interactions, num: int) -> float:
    split = leave_one_out(data)
    topk = next(iter(run_peers([name], split, len(split.users), "loo", BUDGET, no_progress))).everyone
    return float(np.mean([target[0] in row[:num] for row, target in zip(topk, split.targets, strict=True)]))


@pytest.mark.parametrize("name", ["item_knn", "ease", "ease_decayed", "ials", "bpr"])
def test_a_user_of_one_taste_gets_the_rest_of_it(name: str) -> None:
    assert hit_rate(name, log(two_tastes()), 3) == 1.0
    assert hit_rate("popularity", log(two_tastes()), 3) < 0.6


def test_decay_tells_what_comes_next() -> None:
    assert hit_rate("ease_decayed", log(chain()), 1) > 0.9
    assert hit_rate("ease", log(chain()), 1) < 0.9


def test_recent_popularity_follows_the_crowd() -> None:
    data = log([*((f"u{n}", "old", n) for n in range(50)), *((f"v{n}", "new", 5_000 + n) for n in range(10))])
    split = Split(data, np.array([0]), [np.array([0])], [np.array([0])], [0.0], {})
    peer = PEERS["recent_popularity"]
    lists = {
        days: rank(peer.family.fit(data, {"half_life_days": days}, "allow", 0, no_progress), split, 2, "allow")[0]
        for days in (None, 7.0)
    }
    assert [data.item_ids[row] for row in lists[None]] == ["old", "new"]
    assert [data.item_ids[row] for row in lists[7.0]] == ["new", "old"]


def test_a_profile_decays_from_the_newest_event() -> None:
    data = log([("a", "x", 0), ("a", "y", 1), ("a", "x", 2), ("b", "z", 0)])
    found = profiles(data, 0.5).toarray()
    assert dict(zip(data.item_ids, found[0], strict=True)) == {"x": 1.0, "y": 0.5, "z": 0.0}
    assert liked(data).toarray().sum() == 3


def test_ease_is_the_regression_it_claims_to_be() -> None:
    """Column j of B solves the ridge regression of item j on all the others."""
    data = log(two_tastes(20))
    x = liked(data).toarray().astype(np.float64)
    found = weights(data, np.arange(x.shape[1]), 5.0)
    for j in range(x.shape[1]):
        others = np.delete(np.arange(x.shape[1]), j)
        a = x[:, others]
        solved = np.linalg.solve(a.T @ a + 5.0 * np.eye(len(others)), a.T @ x[:, j])
        assert found[others, j] == pytest.approx(solved, abs=1e-4)
        assert found[j, j] == 0.0


def test_neighbours_are_the_strongest_shrunk_cosines_of_each_candidate() -> None:
    data = log(two_tastes(30))
    x = liked(data).toarray()
    co = x.T @ x
    norm = np.sqrt(np.diag(co))
    cosine = co / np.outer(norm, norm) * co / (co + 10.0)
    np.fill_diagonal(cosine, 0.0)
    kept = neighbourhood(data, 10.0, 3).weights(3).toarray()
    for candidate in range(len(cosine)):
        assert np.sort(kept[:, candidate])[-3:] == pytest.approx(np.sort(cosine[:, candidate])[-3:], abs=1e-6)
        assert (kept[:, candidate] > 0).sum() == 3


def test_the_past_is_no_candidate_and_a_stranger_gets_the_popular() -> None:
    data = log([*two_tastes(), ("stranger", "r0", 9_999.0)])
    train = data.where(np.arange(len(data)) != np.flatnonzero(data.user_E == data.user_ids.index("stranger"))[0])
    users = np.array([0, data.user_ids.index("stranger")])
    split = Split(train, users, [np.array([0])] * 2, [np.array([0])] * 2, [0.0] * 2, {})
    peer = PEERS["item_knn"]
    topk = rank(peer.family.fit(train, peer.defaults, "exclude", 0, no_progress), split, 16, "exclude")
    assert not set(topk[0]) & set(train.item_E[train.of(0)].tolist())
    popularity = PEERS["popularity"]
    crowd = rank(popularity.family.fit(train, popularity.defaults, "exclude", 0, no_progress), split, 16, "exclude")
    assert topk[1].tolist() == crowd[1].tolist()


def test_a_stranger_gets_what_is_popular_lately_from_the_recent_list() -> None:
    data = log(
        [*((f"u{n}", "old", n) for n in range(50)), *((f"v{n}", "new", 5_000 + n) for n in range(10)), ("s", "x", 9)]
    )
    train = data.where(data.user_E != data.user_ids.index("s"))
    asked = Split(train, np.array([data.user_ids.index("s")]), [np.array([0])], [np.array([0])], [0.0], {})
    found = next(iter(run_peers(["recent_popularity"], asked, 0, "loo", BUDGET, no_progress))).everyone
    assert data.item_ids[found[0, 0]] == "new"


def test_too_many_items_for_ease_are_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease_module, "MAX_ITEMS", 5)
    split = leave_one_out(log(two_tastes()))
    found = list(run_peers(["ease", "popularity"], split, len(split.users), "loo", BUDGET, no_progress))
    assert "16 items" in found[0].skipped
    assert found[1].skipped == ""


def test_tuning_keeps_to_its_budget_and_says_what_it_took() -> None:
    data = log(two_tastes())
    inner = leave_one_out(leave_one_out(data).train)
    peer = PEERS["ials"]
    quick = tune_family(peer.family, [peer], inner, "exclude", 0, 0.0, no_progress)["ials"]
    assert quick.tried == 1
    told: Sequence[str] = list(quick.as_json())
    assert {"parameters", "configurations_tried", "tuning_seconds", "tuning_seconds_at_most"} <= set(told)


def test_without_validation_users_the_defaults_stand() -> None:
    data = log([("a", "x", 0), ("a", "y", 1), ("a", "z", 2), ("b", "z", 0), ("b", "x", 1)])
    inner = leave_one_out(leave_one_out(data).train)
    peer = PEERS["ease"]
    found = tune_family(peer.family, [peer], inner, "exclude", 0, 9.0, no_progress)["ease"]
    assert (found.tried, found.params) == (0, peer.defaults)


def test_a_seed_makes_a_stochastic_peer_repeatable() -> None:
    split = leave_one_out(log(two_tastes()))
    budget = PeerBudget("exclude", seed=3, num_seeds=3, num=5, tuning_seconds=0.0)
    first, second = (next(iter(run_peers(["ials"], split, 10, "loo", budget, no_progress))) for _ in range(2))
    assert np.array_equal(first.everyone, second.everyone)
    assert [lists.shape for lists in first.by_seed] == [(10, 5), (10, 5)]
