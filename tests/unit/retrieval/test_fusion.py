"""Fusion: one list out of several, and what each source said of each candidate."""

import numpy as np
import pytest

from app.retrieval import fusion
from app.retrieval.candidates import Ranked
from app.retrieval.fusion import Fusion
from app.retrieval.proposals import Proposals, excluded_of


def ranked(rows: list[int], scores: list[float]) -> Ranked:
    return Ranked(np.asarray(rows, np.int64), np.asarray(scores, np.float32))


LISTS = {"item_cf": ranked([7, 3, 5], [0.9, 0.4, 0.1]), "content": ranked([5, 9], [8.0, 2.0])}


def test_every_candidate_stands_once_with_the_rank_and_the_score_of_each_source() -> None:
    found = Fusion().fuse(LISTS, {"item_cf": 1.0, "content": 1.0}, 10)
    assert sorted(found.rows_C.tolist()) == [3, 5, 7, 9]
    told = {
        row: (
            found.ranks["item_cf"][c],
            found.scores["item_cf"][c],
            found.ranks["content"][c],
            found.scores["content"][c],
        )
        for c, row in enumerate(found.rows_C.tolist())
    }
    np.testing.assert_allclose(told[5], (3, 0.1, 1, 8.0), rtol=1e-6)
    np.testing.assert_allclose(told[7], (1, 0.9, 0, np.nan), rtol=1e-6)
    np.testing.assert_allclose(told[9], (0, np.nan, 2, 2.0), rtol=1e-6)
    assert found.sources_of(found.rows_C.tolist().index(5)) == ["item_cf", "content"]


def test_a_source_of_weight_zero_brings_nothing_and_says_nothing() -> None:
    found = Fusion().fuse(LISTS, {"item_cf": 1.0, "content": 0.0}, 10)
    assert found.rows_C.tolist() == [7, 3, 5]
    assert set(found.ranks) == set(found.scores) == {"item_cf"}


def test_the_cut_keeps_what_was_said_beside_its_candidate() -> None:
    whole = Fusion().fuse(LISTS, {"item_cf": 1.0, "content": 1.0}, 10)
    cut = Fusion().fuse(LISTS, {"item_cf": 1.0, "content": 1.0}, 2)
    for name in LISTS:
        np.testing.assert_array_equal(cut.scores[name], whole.scores[name][:2])
        np.testing.assert_array_equal(cut.ranks[name], whole.ranks[name][:2])


def test_nothing_proposed_is_nothing_found() -> None:
    assert len(Fusion().fuse({}, {"item_cf": 1.0}, 5).rows_C) == 0


def test_what_the_sources_add_is_the_score() -> None:
    found = Fusion(shapes={"content": (0.2, 0.3, 0.5)}).fuse(LISTS, {"item_cf": 1.0, "content": 3.0}, 3)
    np.testing.assert_allclose(sum(found.parts.values()), found.scores_C, rtol=1e-6)
    for name, part_C in found.parts.items():
        np.testing.assert_array_equal(part_C > 0, found.ranks[name] > 0)


def test_words_outweigh_all_else_unless_a_weight_is_given() -> None:
    fusion = Fusion(weights={"": {"item_cf": 1.0, "content": 0.5}})
    learned = {"item_cf": "learned", "content": "learned"}
    assert fusion.resolve("home", learned) == {"item_cf": 1.0, "content": 0.5}
    assert fusion.resolve("home", {**learned, "query": "learned"}) == {"item_cf": 1.0, "content": 0.5}
    for asked in (learned, {**learned, "query": "learned"}, {}):
        assert fusion.resolve("home", asked, has_query=True)["query"] == pytest.approx(2 * 1.5)  # type: ignore[arg-type]
    assert fusion.resolve("home", {**learned, "query": 0.0}, has_query=True)["query"] == 0.0  # type: ignore[dict-item]
    assert fusion.resolve("home", {"query": 0.3, "item_cf": 1.0}, has_query=True)["query"] == 0.3


def test_pins_weigh_what_the_strongest_source_does() -> None:
    fusion = Fusion(weights={"": {"item_cf": 0.4, "content": 0.8}})
    asked = {"item_cf": "learned", "content": "learned", "editorial": "learned"}
    assert "editorial" not in fusion.resolve("home", asked)  # type: ignore[arg-type]
    assert fusion.resolve("home", asked, has_pins=True)["editorial"] == 0.8  # type: ignore[arg-type]
    assert fusion.resolve("home", {**asked, "editorial": 0.1}, has_pins=True)["editorial"] == 0.1  # type: ignore[dict-item]
    assert "editorial" not in fusion.resolve("home", {"item_cf": "learned"}, has_pins=True)


def test_a_candidate_is_worth_what_its_places_are() -> None:
    draw = np.random.default_rng(3)
    lists = {
        name: Ranked(draw.choice(500, num, replace=False), -np.sort(-draw.random(num).astype(np.float32)))
        for name, num in (("two_tower", 200), ("item_cf", 120), ("popular", 1), ("new", 0))
    }
    weights, shapes = {"two_tower": 1.0, "item_cf": 0.7, "popular": 0.2, "new": 0.1}, {"item_cf": (0.5, 0.2, 0.3)}
    worth_R, part_R = np.zeros(500), {name: np.zeros(500) for name in lists}
    for name, (rows_K, scores_K) in lists.items():
        part_R[name][rows_K] = fusion.views(scores_K) @ np.asarray(shapes.get(name, (0.0, 1.0, 0.0)))
        part_R[name] *= weights[name] / sum(weights.values())
        worth_R += part_R[name]
    found = Fusion(shapes=shapes).fuse(lists, weights, 150)
    np.testing.assert_array_equal(found.rows_C, np.argsort(-worth_R, kind="stable")[:150])
    np.testing.assert_allclose(found.scores_C, worth_R[found.rows_C], rtol=1e-6)
    for name, (rows_K, scores_K) in lists.items():
        np.testing.assert_allclose(found.parts[name], part_R[name][found.rows_C], rtol=1e-5)
        rank_R, score_R = np.zeros(500), np.full(500, np.nan)
        rank_R[rows_K], score_R[rows_K] = np.arange(1, len(rows_K) + 1), scores_K
        np.testing.assert_array_equal(found.ranks[name], rank_R[found.rows_C])
        np.testing.assert_array_equal(found.scores[name], score_R[found.rows_C].astype(np.float32))


def test_users_of_a_batch_are_fused_as_if_each_came_alone() -> None:
    proposals = Proposals.room(("item_cf", "content"), 2, 3, 10)
    nan = np.float32(np.nan)
    proposals.put("item_cf", np.array([[7, 3, 5], [2, 4, -1]]), np.array([[0.9, 0.4, 0.1], [1.0, 0.5, -np.inf]]))
    proposals.put("content", np.array([[5, 9, -1], [1, 2, 8]]), np.array([[8.0, 2.0, -np.inf], [3.0, nan, 1.0]]))
    weights = [{"item_cf": 1.0, "content": 1.0}, {"item_cf": 0.0, "content": 1.0}]
    together = Fusion().fuse_all(proposals, weights, 10)
    assert together[1].rows_C.tolist() == [1, 8]
    assert set(together[1].ranks) == {"content"}
    alone = Fusion().fuse(LISTS, weights[0], 10)
    np.testing.assert_array_equal(together[0].rows_C, alone.rows_C)
    np.testing.assert_array_equal(together[0].parts["content"], alone.parts["content"])


def test_what_a_user_must_not_see_makes_room_for_what_follows() -> None:
    proposals = Proposals.room(("item_cf",), 2, 2, 10)
    excluded = excluded_of([np.array([3, 12]), np.array([], np.int64)])  # the catalogue is ahead of the space by a row
    proposals.put("item_cf", np.array([[7, 3, 5], [7, 3, 5]]), np.array([[0.9, 0.4, 0.1]] * 2), excluded)
    assert proposals.of_user(0)["item_cf"].rows_K.tolist() == [7, 5]
    assert proposals.of_user(1)["item_cf"].rows_K.tolist() == [7, 3]
