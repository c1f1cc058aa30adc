"""Each source against a calculation by hand. Shapes: N trained items, M delta items."""

import numpy as np
import pytest
from scipy import sparse

from app.catalogue.item import Item
from app.features.entities import entities_of, entity_keys
from app.features.users import KINDS, HistoryItem, UserBatch, fold_users
from app.retrieval.index import VectorIndex
from app.retrieval.sources.content import ContentSource, project
from app.retrieval.sources.item_cf import ItemCfSource
from app.retrieval.sources.knowledge_graph import KnowledgeGraphSource, link
from app.retrieval.sources.matrix_factorisation import MatrixFactorisationSource
from app.retrieval.sources.popular import PopularSource
from app.retrieval.sources.repeat import RepeatSource
from app.retrieval.sources.source import CandidateSource, Fitted, csr_arrays
from app.retrieval.space import ItemSpace

N = 5
DAY = 86_400.0


def space(trained_M: list[int] | None = None, **of_delta: object) -> ItemSpace:
    """trained_M: trained rows the delta items replace, -1 for a new one."""
    M = len(trained_M or [])
    index = VectorIndex(np.eye(N, dtype=np.float32))
    return ItemSpace(
        index, np.zeros((M, N), np.float32), np.asarray(trained_M or [], np.int64), np.zeros(N + M), of_delta
    )


def user(
    *rows: int, kinds: list[str] | None = None, days_ago: list[float] | None = None, scenario: int = 0
) -> UserBatch:
    ages = days_ago or [0.0] * len(rows)
    names = kinds or ["click"] * len(rows)
    past = [HistoryItem(row, KINDS[kind], -age * DAY) for row, kind, age in zip(rows, names, ages, strict=True)]
    return fold_users([past], [0.0], np.zeros((1, 2), np.float32), [scenario])


def found(
    source: CandidateSource, users: UserBatch, at: ItemSpace, allowed: np.ndarray | None = None
) -> dict[int, float]:
    rows, scores = source.find(users, at, 10, allowed)
    assert np.all(np.diff(scores[0][rows[0] >= 0]) <= 0)
    return {int(row): float(score) for row, score in zip(rows[0], scores[0], strict=True) if row >= 0}


def without(row: int, size: int = N) -> np.ndarray:
    allowed = np.ones(size, np.bool_)
    allowed[row] = False
    return allowed


def item_cf(decay: float = 0.5) -> ItemCfSource:
    weights = np.zeros((N, N), np.float32)
    weights[0, 2], weights[1, 2], weights[1, 3], weights[1, 4] = 4.0, 3.0, 2.0, -1.0
    return ItemCfSource(Fitted({"decay": decay}, csr_arrays("weights", sparse.csr_array(weights))))


def test_item_cf_sums_decayed_weights_and_leaves_out_what_speaks_against() -> None:
    assert found(item_cf(), user(0, 1), space()) == {2: 0.5 * 4 + 3, 3: 2.0}
    assert found(item_cf(), user(0, 1), space(), without(2)) == {3: 2.0}


def test_a_replaced_item_is_proposed_and_remembered_at_its_new_row() -> None:
    at = space([2, 1])
    assert found(item_cf(), user(0, 6), at, without(2, 7)) == {5: 0.5 * 4 + 3, 3: 2.0}


def factorisation(decay: float) -> tuple[MatrixFactorisationSource, np.ndarray]:
    factors = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
    gram = factors.T @ factors + 0.1 * np.eye(3, dtype=np.float32)
    return MatrixFactorisationSource(
        Fitted({"confidence": 5.0, "decay": decay}, {"factors": factors, "gram": gram})
    ), factors


def test_fold_in_solves_the_weighted_least_squares() -> None:
    source, factors = factorisation(0.5)
    solved = source.fold_in(np.array([1, 3]), np.array([0.5, 1.0], np.float32))
    confidence = np.ones(N)
    confidence[[1, 3]] += np.array([0.5, 1.0]) * 4.0
    wanted = np.array([0, 0.5 * 5.0, 0, 5.0, 0])  # confidence x preference, in the measure of the event's weight
    system = factors.T @ (confidence[:, None] * factors) + 0.1 * np.eye(3)
    assert solved == pytest.approx(np.linalg.solve(system, factors.T @ wanted), abs=1e-5)


def test_factorisation_ranks_by_the_folded_in_user() -> None:
    source, factors = factorisation(1.0)
    scores = found(source, user(1, 3), space())
    expected = factors @ source.fold_in(np.array([1, 3]), np.ones(2, np.float32))
    assert scores == pytest.approx(dict(enumerate(expected.tolist())), abs=1e-5)
    assert found(source, user(), space()) == {}
    assert 0 not in found(source, user(1, 3), space(), without(0))


def content() -> ContentSource:
    text = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [0, 0]], np.float32)
    mean, projection = np.zeros(2, np.float32), np.eye(2, dtype=np.float32)
    vectors = project(text, mean, projection)
    return ContentSource(Fitted({"decay": 0.5}, {"vectors": vectors, "mean": mean, "projection": projection}))


def test_content_finds_what_reads_alike_new_items_included() -> None:
    source = content()
    delta = source.of_delta([Item("new"), Item("silent")], np.array([[2, 0], [0, 0]], np.float32))
    assert delta.tolist() == [[1, 0], [0, 0]]
    at = space([-1, -1], content=delta)
    scores = found(source, user(0), at)
    assert list(scores)[:3] == [0, 5, 1]
    assert scores[1] == pytest.approx(1 / np.sqrt(1.01))
    assert 4 not in scores  # it has no text
    assert 6 not in scores
    assert 5 not in found(source, user(0), at, without(5, 7))
    assert list(found(source, user(2, 5), at))[:2] == [1, 0]  # what lies between the newer, new item and the older one
    assert found(source, user(), at) == {}


def test_content_does_not_return_the_row_an_item_has_left() -> None:
    source = content()
    delta = source.of_delta([Item("a")], np.array([[0, 1]], np.float32))
    assert 0 not in found(source, user(1, 3), space([0], content=delta))


def test_projection_centres_and_keeps_items_without_text_at_zero() -> None:
    mean, projection = np.array([1, 1], np.float32), np.array([[1], [0]], np.float32)
    assert project(np.array([[3, 1], [0, 5], [0, 0]], np.float32), mean, projection).tolist() == [[1], [-1], [0]]


ITEMS = [
    Item("a", brand="X", category=("Home", "Pans")),
    Item("b", brand="X"),
    Item("c", category=("Home", "Pots"), attributes={"colour": ["red"], "weight": 1.5}),
    Item("d", tags=("red",)),
    Item("e"),
]


def test_entities_have_keys_of_their_own_by_relation() -> None:
    assert list(entities_of(ITEMS[2])) == [
        ("category", "Home"),
        ("category", "Home\x1fPots"),
        ("attribute colour", "red"),
    ]
    assert not np.isin(entity_keys(ITEMS[3]), entity_keys(ITEMS[2])).any()
    assert list(entities_of(Item("x", price=8.0))) == [("price", "6")]
    assert list(entities_of(Item("x", price=0.0, attributes={"note": "x" * 61, "none": None}))) == []


def graph(together: float, steps: int, damping: float = 0.5) -> KnowledgeGraphSource:
    brand, home = entity_keys(Item("", brand="X")), entity_keys(Item("", category=("Home",)))
    keys = np.sort(np.concatenate([brand, home]))
    weights = np.where(keys == brand, 3.0, 1.0).astype(np.float32)
    links = link([entity_keys(item) for item in ITEMS], keys, weights)
    pairs = np.zeros((N, N), np.float32)
    pairs[0, 4] = 1.0
    arrays = {
        "keys": keys,
        "weights": weights,
        **csr_arrays("links", links),
        **csr_arrays("together", sparse.csr_array(pairs)),
    }
    return KnowledgeGraphSource(
        Fitted({"together": together, "steps": steps, "damping": damping, "decay": 0.8}, arrays)
    )


def test_one_step_over_entities_and_purchases() -> None:
    # a: 3/4 to its brand (shared by a and b), 1/4 to Home (shared by a and c); of which 60 %, and 40 % to e
    expected = {0: 0.6 * (0.375 + 0.125), 1: 0.6 * 0.375, 2: 0.6 * 0.125, 4: 0.4}
    assert found(graph(0.4, 1), user(0), space()) == pytest.approx(expected)
    assert 1 not in found(graph(0.4, 1), user(0), space(), without(1))


def test_a_second_step_is_worth_less() -> None:
    one = found(graph(0.0, 1), user(1), space())
    assert one == pytest.approx({0: 0.5, 1: 0.5})
    two = found(graph(0.0, 2), user(1), space())
    assert two == pytest.approx({0: 0.5 + 0.5 * (0.25 + 0.25), 1: 0.5 + 0.5 * (0.25 + 0.1875), 2: 0.5 * 0.0625})


def test_a_new_item_is_reached_over_known_entities() -> None:
    source = graph(0.4, 1)
    delta = [Item("new", brand="X"), Item("strange", brand="Y"), Item("a", brand="X")]
    at = space([-1, -1, 0], knowledge_graph=source.of_delta(delta, np.zeros((3, 2), np.float32)))
    scores = found(source, user(0), at)
    assert scores[5] == pytest.approx(0.6 * 0.75 * 3 / 6)  # as an item of brand X and nothing else would be
    assert 6 not in scores
    assert 7 in scores  # the replaced one, by its trained links
    assert 0 not in scores
    assert 5 not in found(source, user(0), at, without(5, 8))


def test_the_links_of_a_step_are_its_scores() -> None:
    brand, home = (int(entity_keys(item)[0]) for item in (Item("", brand="X"), Item("", category=("Home",))))
    source, users = graph(0.4, 1), user(1, 0)  # b, then a: .8 / 1.8 and 1 / 1.8 of the profile
    to_a, to_c, to_new = source.links_between(users, space([-1]), [0, 2, 5])
    from_a, from_b = 1 / 1.8, 0.8 / 1.8
    assert [(link.row, link.key) for link in to_a] == [(1, brand), (0, brand), (0, home)]
    expected = [0.6 * 0.5 * from_b, 0.6 * 0.375 * from_a, 0.6 * 0.125 * from_a]
    assert [link.score for link in to_a] == pytest.approx(expected)
    assert sum(link.score for link in to_a) == pytest.approx(found(source, users, space())[0])
    assert [(link.row, link.key) for link in to_c] == [(0, home)]
    assert to_new == []
    moved = source.links_between(users, space([0]), [5])  # the trained row 0 stands at row 5 now
    assert [(link.row, link.key) for link in moved[0]] == [(1, brand), (5, brand), (5, home)]


def test_popular_by_scenario() -> None:
    source = PopularSource(Fitted({}, {"popularity": np.array([[3, 2, 1, 0, 0], [0, 0, 1, 2, 0]], np.float32)}))
    assert list(found(source, user(), space())) == [0, 1, 2]
    assert list(found(source, user(scenario=1), space())) == [3, 2]
    assert list(found(source, user(scenario=7), space())) == [0, 1, 2]  # not known when it was fitted
    assert list(found(source, user(), space(), without(0))) == [1, 2]


def repeat(half_life: float = 10.0, propensity: float = 1.0, due: float = 0.0) -> RepeatSource:
    again = np.array([0.5, 0.25, 0.5, 0.5, 0.5], np.float32)
    interval = np.array([30, 30, 10, 30, 30], np.float32)
    kinds = np.array([KINDS["purchase"]], np.int32)
    return RepeatSource(
        Fitted(
            {"half_life_days": half_life, "propensity": propensity, "due": due},
            {"again": again, "interval": interval, "kinds": kinds},
        )
    )


def test_repeat_weighs_recency_frequency_and_propensity() -> None:
    bought = user(0, 1, 0, 2, kinds=["purchase", "purchase", "purchase", "view"], days_ago=[20, 10, 10, 0])
    assert found(repeat(), bought, space()) == pytest.approx({0: 0.5 * (0.25 + 0.5), 1: 0.25 * 0.5}, abs=1e-6)
    assert found(repeat(propensity=0.0), bought, space()) == pytest.approx({0: 0.75, 1: 0.5}, abs=1e-6)
    assert found(repeat(), bought, space(), without(0)) == pytest.approx({1: 0.125}, abs=1e-6)
    assert found(repeat(), user(), space()) == {}


def test_what_is_not_due_yet_waits() -> None:
    """Item 3 was bought at the same time as item 2, but lasts three times as long."""
    bought = user(3, 2, kinds=["purchase"] * 2, days_ago=[10, 10])
    scores = found(repeat(due=1.0), bought, space())
    assert scores[2] == pytest.approx(0.25, rel=1e-3)
    assert scores[3] == pytest.approx(0.25 / 3, rel=1e-2)


def test_three_purchases_tell_the_own_interval() -> None:
    """Every 10 days although others buy it every 30: after 10 days it is due."""
    bought = user(0, 1, 0, 2, 0, kinds=["purchase"] * 5, days_ago=[30, 29, 20, 15, 10])
    weight = 0.5 ** np.array([3, 2, 1])
    assert found(repeat(due=1.0), bought, space())[0] == pytest.approx(0.5 * weight.sum(), rel=1e-3)


def test_repeat_follows_a_replaced_item() -> None:
    bought = user(0, kinds=["purchase"])
    assert list(found(repeat(), bought, space([0]), without(0, 6))) == [5]
