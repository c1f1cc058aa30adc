import numpy as np

from app.learning.fusion_fit import RankTable, fit_fusion
from app.retrieval.fusion import Fusion

SOURCES = ("two_tower", "item_cf", "popular", "new")


def lists(**of: list[int]) -> dict[str, np.ndarray]:
    return {name: np.asarray(of.get(name, []), np.int64) for name in SOURCES}


def test_a_source_that_hurts_gets_nothing() -> None:
    rng = np.random.default_rng(0)
    users, targets = [], []
    for _ in range(80):
        wanted = rng.permutation(50)[:5]
        noise = rng.permutation(50)
        users.append(lists(item_cf=[*wanted.tolist(), 60, 61], popular=noise.tolist()))
        targets.append(wanted)
    fusion, report = fit_fusion(RankTable(users, targets, SOURCES), [""] * 80)
    assert report["fused"] >= max(report[name] for name in SOURCES)
    assert report["fused"] > 0.95
    weights = fusion.resolve("home", {})
    assert fusion.fuse(users[0], weights, 5).rows_C.tolist() == users[0]["item_cf"][:5].tolist()


def test_scenarios_differ_where_their_users_do() -> None:
    users = [lists(item_cf=[1, 2, 3], popular=[4, 5, 6])] * 60 + [lists(item_cf=[1, 2, 3], popular=[4, 5, 6])] * 60
    targets = [np.array([1, 2, 3])] * 60 + [np.array([4, 5, 6])] * 60
    fusion, _ = fit_fusion(RankTable(users, targets, SOURCES), ["home"] * 60 + ["cart"] * 60)
    home, cart = fusion.resolve("home", {}), fusion.resolve("cart", {})
    assert fusion.fuse(users[0], home, 3).rows_C.tolist() == [1, 2, 3]
    assert fusion.fuse(users[0], cart, 3).rows_C.tolist() == [4, 5, 6]


def test_given_weights_are_taken_as_they_are() -> None:
    fusion = Fusion({"": {"two_tower": 2.0, "item_cf": 0.5}})
    assert fusion.resolve("home", {"popular": 1.5, "two_tower": "learned"}) == {"popular": 1.5, "two_tower": 2.0}


def test_fused_scores_fall_and_ranks_say_who_brought_what() -> None:
    found = Fusion().fuse(
        {"a": np.array([5, 6]), "b": np.array([6, 7]), "off": np.array([9])}, {"a": 1.0, "b": 1.0}, 10
    )
    assert found.rows_C.tolist() == [6, 5, 7]
    assert np.all(np.diff(found.scores_C) <= 0)
    assert 0 < found.scores_C[-1] <= found.scores_C[0] <= 1
    assert found.sources_of(0) == ["a", "b"]
    assert found.ranks["b"].tolist() == [1, 0, 2]
