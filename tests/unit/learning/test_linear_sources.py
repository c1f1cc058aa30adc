"""Item-CF and popularity against direct computation."""

import numpy as np
import pytest

from app.learning.item_similarity import SHRINKAGE, item_similarity
from app.learning.popularity import popularity
from tests.unit.learning.builders import Row, log

ROWS: list[Row] = [
    (f"u{user}", f"i{item}", user + item / 10) for user in range(30) for item in range(6) if (user * 7 + item) % 3
]


def test_similarity_is_the_shrunk_cosine() -> None:
    data = log(ROWS)
    users = np.zeros((len(data.user_ids), len(data.item_ids)))
    users[data.user_E, data.item_E] = 1.0
    co = users.T @ users
    norm = np.sqrt(np.diag(co))
    expected = co / np.outer(norm, norm) * co / (co + SHRINKAGE)
    np.fill_diagonal(expected, 0.0)
    assert item_similarity(data).toarray() == pytest.approx(expected, abs=1e-6)


def test_repeats_and_views_do_not_count_twice() -> None:
    twice = [*ROWS, *((user, item, at + 50) for user, item, at in ROWS)]
    assert item_similarity(log(twice)).toarray() == pytest.approx(item_similarity(log(ROWS)).toarray())
    assert item_similarity(log(ROWS, type="view")).nnz == 0


def test_popularity_halves_with_its_half_life() -> None:
    data = log([("a", "old", 0), ("b", "new", 48), ("c", "new", 48)])
    shares = dict(zip(data.item_ids, popularity(data, 2.0)[0], strict=True))
    assert shares["new"] / shares["old"] == pytest.approx(4.0)
    assert sum(shares.values()) == pytest.approx(1.0)


def test_a_thin_scenario_leans_on_the_whole_shop() -> None:
    rows: list[Row] = [("a", "x", n) for n in range(99)] + [("b", "y", 99)]
    data = log(rows, scenarios=["home"] * 99 + ["cart"])
    cart = popularity(data, float("inf"))[data.scenarios.index("cart")]
    assert cart[data.item_ids.index("x")] > 0.9
    assert cart[data.item_ids.index("y")] > popularity(data, float("inf"))[0][data.item_ids.index("y")]
