"""What the fitting modules learn, by hand or by brute force."""

from typing import cast

import numpy as np
import pytest

from app.learning.inputs import Inputs
from app.learning.item_similarity import COVISIT_SHRINKAGE, chosen, covisitation, ease
from app.learning.sources import FITTERS, knowledge_graph, matrix_factorisation, user_cf
from app.learning.sources.content import principal_directions
from app.learning.sources.knowledge_graph import entities
from app.learning.sources.repeat import SHRINKAGE, repurchase
from app.retrieval.sources import FITTED
from app.retrieval.sources.matrix_factorisation import MatrixFactorisationSource
from tests.unit.learning.builders import Row, log

NOTHING = cast(Inputs, None)  # for fits that read events only


def test_covisitation_counts_by_distance_and_direction() -> None:
    data = log([("u", "a", 0), ("u", "b", 1), ("u", "c", 2), ("v", "c", 0), ("v", "a", 1)])
    forward = np.array([[0, 1, 0.9], [0, 0, 1], [1, 0, 0]])
    both = forward + 0.5 * forward.T
    expected = both / np.sqrt(np.outer(both.sum(1), both.sum(0))) * both / (both + COVISIT_SHRINKAGE)
    assert covisitation(data).toarray() == pytest.approx(expected, abs=1e-6)


def test_covisitation_forgets_what_lies_far_apart_and_keeps_the_strongest() -> None:
    data = log([("u", f"i{n:02}", n) for n in range(30)])
    weights = covisitation(data, neighbours=3).toarray()
    assert weights[0, 21] == 0.0
    assert (weights > 0).sum(0).max() == 3
    assert set(np.flatnonzero(weights[:, 10])) == {7, 8, 9}


def test_ease_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    rows: list[Row] = [(f"u{u}", f"i{i}", u + i / 10) for u in range(40) for i in range(6) if rng.random() < 0.5]
    data = log(rows)
    users = np.zeros((len(data.user_ids), len(data.item_ids)))
    users[data.user_E, data.item_E] = 1.0
    inverse = np.linalg.inv(users.T @ users + 5.0 * np.eye(users.shape[1]))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    assert ease(data, 5.0).toarray() == pytest.approx(expected, abs=1e-4)


def test_a_user_folded_in_gets_the_factors_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once alternating least squares has converged, solving a user anew changes nothing."""
    monkeypatch.setattr(matrix_factorisation, "ITERATIONS", 300)
    monkeypatch.setattr(matrix_factorisation, "FACTORS", 4)
    rng = np.random.default_rng(1)
    data = log([(f"u{u:02}", f"i{i:02}", n) for u in range(40) for n, i in enumerate(rng.permutation(20)[: 3 + u % 6])])
    trained, _ = matrix_factorisation.factorise(chosen(data), 4.0, 1.0)
    fitted = matrix_factorisation.fit(data, NOTHING, {"confidence": 4.0, "regularisation": 1.0, "decay": 1.0})
    source = MatrixFactorisationSource(fitted)
    for user in (0, 7, 39):
        rows = data.item_E[data.of(user)]
        assert source.fold_in(rows, np.ones(len(rows), np.float32)) == pytest.approx(trained[user], abs=2e-3)


def test_whitening_makes_directions_equally_strong() -> None:
    rng = np.random.default_rng(0)
    text = np.concatenate([rng.normal(size=(400, 3)) * [5, 1, 0.2] + 3, np.zeros((5, 3))]).astype(np.float32)
    for whitening, expected in ((0.0, [5, 1, 0.2]), (1.0, [1, 1, 1])):
        mean, projection = principal_directions(text, whitening)
        deviation = ((text[:400] - mean) @ projection).std(0)
        assert deviation == pytest.approx(expected, rel=0.15)
    assert principal_directions(np.zeros((4, 3), np.float32), 0.5)[1].shape == (3, 3)


def test_entities_of_one_item_or_of_nearly_all_are_left_out() -> None:
    keys = [np.array([1, 2, 3] if n == 0 else [1, 2] if n < 3 else [1], np.int64) for n in range(30)]
    kept, weights = entities(keys)
    assert kept.tolist() == [2]
    assert weights == pytest.approx([np.log(10)])


def test_repurchase_share_and_interval_are_shrunk_to_the_shop() -> None:
    data = log([("u", "a", 0), ("u", "a", 240), ("u", "b", 240), ("v", "a", 0), ("v", "a", 0)], type="purchase")
    again, interval = repurchase(data)
    rate = 1 / 3  # of three user-item pairs one was bought again, at another time
    assert again == pytest.approx([(1 + SHRINKAGE * rate) / (2 + SHRINKAGE), SHRINKAGE * rate / (1 + SHRINKAGE)])
    assert interval == pytest.approx([10.0, 10.0])


def test_every_fitted_source_has_its_fitting_twin() -> None:
    assert list(FITTERS) == list(FITTED)


def test_neighbours_are_the_shoppers_seen_last_with_their_newest_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cf, "MAX_CHOSEN", 2)
    monkeypatch.setattr(user_cf, "MAX_SHOPPERS", 2)
    rows: list[Row] = [
        ("old", "a", 0),
        ("old", "b", 1),
        ("new", "a", 5),
        ("new", "b", 6),
        ("new", "c", 7),
        ("new", "c", 8),
    ]
    data = log([*rows, ("one", "a", 9), ("mid", "c", 3), ("mid", "a", 4)])
    chosen_UN = user_cf.neighbours(data).toarray()
    assert chosen_UN.tolist() == [[0, 1, 1], [1, 0, 1]]  # new, then mid: old is one too many, one has chosen one thing


def test_the_index_of_an_item_is_bounded_by_its_newest_shoppers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cf, "MAX_POSTINGS", 3)
    rows: list[Row] = [(f"u{u}", item, u) for u in range(8) for item in ("a", f"b{u % 2}")]
    fitted = user_cf.fit(log(rows), NOTHING, user_cf.DEFAULTS)
    postings = fitted.csr("postings")
    assert postings.indices[postings.indptr[0] : postings.indptr[1]].tolist() == [0, 1, 2]
    assert fitted.arrays["counts"].tolist() == [8, 4, 4]
    assert fitted.csr("chosen").shape == (8, 3)


def test_covisitation_counts_less_what_lies_apart_in_time() -> None:
    near, far = log([("u", "a", 0), ("u", "b", 24)]), log([("u", "a", 0), ("u", "b", 48)])
    same = [covisitation(data).toarray()[0, 1] for data in (near, far)]
    assert same[0] == same[1]
    one, two = (covisitation(data, gap_days=1.0).toarray()[0, 1] for data in (near, far))
    # one pair: count c each way 1 and 1/2, so the cosine is the same and the shrinkage c / (c + 3) tells the count
    assert one > two > 0


def test_the_walk_reaches_what_was_bought_together_where_there_is_buying() -> None:
    rows: list[Row] = [(f"u{u}", item, 100 * u + 2 * n) for u in range(6) for n, item in enumerate(("a", "b"))]
    looked = knowledge_graph.chosen_together(log(rows)).toarray()
    assert looked[0, 1] == pytest.approx(1.0)
    bought = [(f"v{u}", item, 100 * u + n / 10) for u in range(6) for n, item in enumerate(("a", "c"))]
    alone = [(f"w{u}", "d", float(u)) for u in range(9)]
    data = log([*rows, *bought, *alone], type="purchase")
    walk = knowledge_graph.chosen_together(data).toarray()
    assert walk[0, 2] > walk[0, 1] > 0  # c went into the same baskets, b came two hours later
