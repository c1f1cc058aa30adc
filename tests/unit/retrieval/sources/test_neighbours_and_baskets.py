"""user_cf and complements against brute force. Shapes: N items, U shoppers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse

from app.features.users import KINDS
from app.retrieval.sources.complements import ComplementsSource
from app.retrieval.sources.profile import FOREVER
from app.retrieval.sources.source import Fitted, csr_arrays
from app.retrieval.sources.user_cf import UserCfSource
from tests.unit.retrieval.sources.test_sources import N, found, space, user, without

CHOSEN = np.array([[1, 1, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 1, 1], [1, 0, 0, 0, 1]], np.float32)


def user_cf(neighbours: int = 4, rarity: float = 1.0, norm: float = 0.5, damping: float = 0.5) -> UserCfSource:
    parameters = {
        "neighbours": neighbours, "decay": 0.5, "rarity": rarity, "norm": norm, "damping": damping, "half_life_days": FOREVER,
    }  # fmt: skip
    arrays = {
        **csr_arrays("postings", sparse.csr_array(CHOSEN.T)),
        **csr_arrays("chosen", sparse.csr_array(CHOSEN)),
        "counts": CHOSEN.sum(0),
    }
    return UserCfSource(Fitted(parameters, arrays))


def brute_force(
    past: dict[int, float], neighbours: int, rarity: float, norm: float, damping: float
) -> dict[int, float]:
    counts = CHOSEN.sum(0)
    idf = np.log1p(len(CHOSEN) / counts) ** rarity
    likeness = [sum(w * idf[i] for i, w in past.items() if row[i]) / row.sum() ** norm for row in CHOSEN]
    nearest = sorted(range(len(CHOSEN)), key=lambda u: -likeness[u])[:neighbours]
    scores = sum(likeness[u] * CHOSEN[u] for u in nearest) / counts**damping
    return {i: float(score) for i, score in enumerate(scores) if score > 0}


@pytest.mark.parametrize("neighbours", [1, 2, 4])
@pytest.mark.parametrize(("rarity", "norm", "damping"), [(1.0, 0.5, 0.5), (0.0, 0.25, 0.0), (2.0, 0.5, 0.25)])
def test_neighbours_vote_as_by_brute_force(neighbours: int, rarity: float, norm: float, damping: float) -> None:
    source = user_cf(neighbours, rarity, norm, damping)
    expected = brute_force({0: 0.5, 1: 1.0}, neighbours, rarity, norm, damping)
    assert found(source, user(0, 1), space()) == pytest.approx(expected, abs=1e-5)


def test_a_shopper_whom_training_never_saw_has_neighbours() -> None:
    """The source holds no row of the asking shopper; the events of a minute ago are all it needs."""
    scores = found(user_cf(), user(3), space())
    assert set(scores) == {1, 3, 4}
    assert found(user_cf(), user(), space()) == {}


def test_user_cf_honours_the_filter_and_follows_replaced_items() -> None:
    assert set(found(user_cf(), user(3), space(), without(1))) == {3, 4}
    at = space([3, -1])
    scores = found(user_cf(), user(5), at, without(3, 7))  # 5 stands for item 3 now
    assert set(scores) == {1, 4, 5}
    assert found(user_cf(), user(6), at) == {}  # a new item leaves no trace among neighbours


def test_threads_do_not_disturb_one_another() -> None:
    """The compiled loops run without the interpreter's lock, in memory that each thread keeps for itself."""
    draw = np.random.default_rng(5)
    chosen = sparse.random_array((400, N), density=0.6, rng=draw, dtype=np.float32).tocsr()
    arrays = {
        **csr_arrays("postings", sparse.csr_array(chosen.T)), **csr_arrays("chosen", chosen), "counts": np.ones(N, np.float32),
    }  # fmt: skip
    parameters = {"neighbours": 50, "decay": 0.9, "rarity": 0.0, "norm": 0.5, "damping": 0.0, "half_life_days": FOREVER}
    source = UserCfSource(Fitted(parameters, arrays))
    asked = [user(*draw.permutation(N)[:3].tolist()) for _ in range(200)]
    alone = [found(source, one, space()) for one in asked]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda one: found(source, one, space()), asked)) == alone


def complements(decay: float = 0.5, half_life_days: float = FOREVER) -> ComplementsSource:
    weights = np.zeros((N, N), np.float32)
    weights[0, 2], weights[1, 3], weights[1, 2] = 4.0, 3.0, 1.0
    kinds = np.array([KINDS["purchase"], KINDS["cart_add"]], np.int32)
    arrays = {**csr_arrays("weights", sparse.csr_array(weights)), "kinds": kinds}
    return ComplementsSource(Fitted({"decay": decay, "half_life_days": half_life_days}, arrays))


def test_what_is_at_hand_comes_before_what_was_bought() -> None:
    viewing = user(0, 1, kinds=["purchase", "context"])
    assert found(complements(), viewing, space()) == {3: 3.0, 2: 1.0}
    cart = user(0, 1, kinds=["context", "context"])
    assert found(complements(), cart, space()) == {2: 5.0, 3: 3.0}
    assert found(complements(), cart, space(), without(2)) == {3: 3.0}


def test_without_context_recent_purchases_decay_by_position_and_time() -> None:
    bought = user(0, 4, 1, kinds=["purchase", "click", "cart_add"], days_ago=[11, 5, 1])
    assert found(complements(), bought, space()) == {3: 3.0, 2: 1.0 + 0.5 * 4}  # the click in between does not count
    assert found(complements(half_life_days=10.0), bought, space()) == {3: 3.0, 2: 1.0 + 0.25 * 4}
    assert found(complements(), user(0, kinds=["view"]), space()) == {}


def test_complements_of_a_replaced_item_are_those_of_its_trained_row() -> None:
    at = space([0, 3])
    assert found(complements(), user(5, 1, kinds=["context"] * 2), at, without(3, 7)) == {2: 5.0, 6: 3.0}
