"""Baskets and what goes together beyond chance, by hand and by brute force."""

import numpy as np
import pytest

from app.features.users import KINDS
from app.learning.baskets import LEAST_TOGETHER, MAX_BASKET, SHRINKAGE, baskets, log_likelihood_ratio, together
from app.learning.dataset import Interactions, interactions
from app.learning.sources import complements
from app.retrieval.sources.complements import ComplementsSource
from tests.unit.learning.builders import Row, log, shop
from tests.unit.learning.test_sources import NOTHING
from tests.unit.retrieval.sources.test_sources import found, user


def sets(data: Interactions, hours: float) -> list[set[str]]:
    matrix = baskets(data, hours)
    return [
        {data.item_ids[i] for i in matrix.indices[a:b]} for a, b in zip(matrix.indptr, matrix.indptr[1:], strict=False)
    ]


def test_a_basket_ends_with_the_shopper_and_with_a_gap() -> None:
    data = log([("u", "a", 0), ("u", "b", 0.5), ("u", "a", 0.7), ("u", "c", 3), ("v", "c", 3.1)], type="purchase")
    assert sets(data, 1.0) == [{"a", "b"}, {"c"}, {"c"}]
    assert sets(data, 24.0) == [{"a", "b", "c"}, {"c"}]


def test_only_buying_makes_a_basket_where_there_is_buying() -> None:
    rows: list[Row] = [("u", "a", 0), ("u", "b", 0.1), ("u", "c", 0.2)]
    table = shop(rows)
    mixed = table.events.with_columns(type=np.array(["purchase", "click", "cart_add"]))  # type: ignore[arg-type]
    data = interactions(type(table)(table.items, table.users, mixed))
    assert sets(data, 1.0) == [{"a", "c"}]
    assert sets(log(rows), 1.0) == [{"a", "b", "c"}]  # a log of clicks only


def test_a_wholesalers_list_keeps_its_newest_items() -> None:
    data = log([("u", f"i{n:03}", n / 1_000) for n in range(MAX_BASKET + 30)], type="purchase")
    (basket,) = sets(data, 1.0)
    assert basket == {f"i{n:03}" for n in range(30, MAX_BASKET + 30)}


def random_log() -> Interactions:
    rng = np.random.default_rng(3)
    rows: list[Row] = []
    for u in range(300):
        first = int(rng.integers(0, 6)) * 2
        chosen = {first, first + 1} if rng.random() < 0.5 else set(rng.integers(0, 12, 3).tolist())
        rows += [(f"u{u:03}", f"i{i:02}", u + n / 100) for n, i in enumerate(sorted(chosen))]
    return log(rows, type="purchase")


@pytest.mark.parametrize("measure", ["pmi", "llr"])
def test_weights_are_those_of_brute_force(measure: str) -> None:
    data = random_log()
    groups = sets(data, 1.0)
    weights = together(baskets(data, 1.0), measure).toarray()  # type: ignore[arg-type]
    for i, a in enumerate(data.item_ids):
        for j, b in enumerate(data.item_ids):
            count_a, count_b = sum(a in g for g in groups), sum(b in g for g in groups)
            both, total = sum(a in g and b in g for g in groups), len(groups)
            expected = 0.0
            if i != j and both >= LEAST_TOGETHER and both * total > count_a * count_b:
                table = np.array([[both, count_a - both], [count_b - both, total - count_a - count_b + both]], float)
                chance = np.outer(table.sum(1), table.sum(0)) / total
                g2 = 2 * sum(t * np.log(t / e) for t, e in zip(table.ravel(), chance.ravel(), strict=True) if t > 0)
                value = np.log(both * total / (count_a * count_b)) if measure == "pmi" else np.sqrt(g2)
                expected = value * both / (both + SHRINKAGE)
            assert weights[i, j] == pytest.approx(expected, abs=1e-4), (a, b)
    best = weights.argmax(1)
    assert [int(i) for i in best] == [i ^ 1 for i in range(12)]  # each has the one it is sold with


def test_independence_has_no_likelihood_ratio() -> None:
    both, a, b = (np.array([x], float) for x in (10, 100, 100))
    assert log_likelihood_ratio(both, a, b, 1_000)[0] == pytest.approx(0.0, abs=1e-9)


def test_substitutes_do_not_surface_through_being_looked_at_together() -> None:
    """Two cameras are compared by everybody and bought together by nobody; the memory card goes into the basket."""
    rows: list[Row] = []
    for u in range(40):
        camera = f"camera-{u % 2}"
        rows += [(f"u{u:02}", "camera-0", u * 10), (f"u{u:02}", "camera-1", u * 10 + 0.1)]
        rows += [(f"u{u:02}", camera, u * 10 + 0.2), (f"u{u:02}", "card" if u % 4 < 3 else "bag", u * 10 + 0.3)]
        rows += [(f"x{u:02}", f"else-{u % 5}", u * 10)]
    table = shop(rows)
    kinds = np.tile(["click", "click", "purchase", "purchase", "purchase"], 40)
    data = interactions(type(table)(table.items, table.users, table.events.with_columns(type=kinds)))  # type: ignore[arg-type]
    source = ComplementsSource(complements.fit(data, NOTHING, complements.DEFAULTS))
    from app.retrieval.index import VectorIndex
    from app.retrieval.space import ItemSpace

    N = len(data.item_ids)
    space = ItemSpace(
        VectorIndex(np.eye(N, dtype=np.float32)), np.zeros((0, N), np.float32), np.empty(0, np.int64), np.zeros(N)
    )
    viewed = data.item_ids.index("camera-0")
    names = [data.item_ids[row] for row in found(source, user(viewed, kinds=["context"]), space)]
    assert names[0] == "card"
    assert "camera-1" not in names
    assert source._counts_K[KINDS["purchase"]]
