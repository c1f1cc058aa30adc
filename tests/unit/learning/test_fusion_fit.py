import numpy as np
import pytest

from app.learning.fusion_cases import CaseTable
from app.learning.fusion_fit import best_single, choose, fit_fusion, listwise, rank_fusion, shapes_of, single
from app.retrieval.candidates import Ranked
from app.retrieval.fusion import BY_FLAT_RANK, DEPTH, Fusion, views

SOURCES = ("two_tower", "item_cf", "popular", "new")


def ranked(rows: list[int], scores: list[float] | None = None) -> Ranked:
    given = np.arange(len(rows), 0, -1) if scores is None else scores
    return Ranked(np.asarray(rows, np.int64), np.asarray(given, np.float32))


def lists(**of: list[int]) -> dict[str, Ranked]:
    return {name: ranked(of.get(name, [])) for name in SOURCES}


def table(users: list[dict[str, Ranked]], targets: list[np.ndarray]) -> CaseTable:
    return CaseTable(users, targets, SOURCES)


def noisy(num: int, seed: int = 0, good: str = "item_cf") -> tuple[list[dict[str, Ranked]], list[np.ndarray]]:
    """`good` knows the targets, `popular` nothing."""
    rng = np.random.default_rng(seed)
    users, targets = [], []
    for _ in range(num):
        wanted = rng.permutation(50)[:5]
        users.append(lists(**{good: [*wanted.tolist(), 60, 61], "popular": rng.permutation(50).tolist()}))
        targets.append(wanted)
    return users, targets


def test_a_source_that_hurts_gets_nothing() -> None:
    users, targets = noisy(80)
    fusion, report = fit_fusion(table(users, targets), [""] * 80)
    assert report["fused"] >= max(report[name] for name in SOURCES)
    assert report["fused"] > 0.95
    weights = fusion.resolve("home", {})
    found = fusion.fuse(users[0], weights, 5)
    assert set(found.rows_C.tolist()) == set(users[0]["item_cf"].rows_K[:5].tolist())


def test_two_halves_together_beat_either() -> None:
    """Each source knows one of two targets and puts it third; both agree on nothing else."""
    rng = np.random.default_rng(1)
    users, targets = [], []
    for _ in range(120):
        a, b, *others = rng.permutation(90).tolist()
        left, right = others[:20], others[20:40]
        users.append(lists(two_tower=[*left[:2], a, b, *left[2:]], item_cf=[*right[:2], a, b, *right[2:]]))
        targets.append(np.array([a, b]))
    _, report = fit_fusion(table(users, targets), [""] * 120)
    assert report["fused"] > 1.3 * max(report["two_tower"], report["item_cf"])


@pytest.mark.parametrize("seed", range(4))
def test_never_worse_than_the_best_single_source_on_its_cases(seed: int) -> None:
    """Pure noise, few cases: whatever is chosen was compared with every source alone."""
    rng = np.random.default_rng(seed)
    users = [lists(**{name: rng.permutation(40)[:20].tolist() for name in SOURCES}) for _ in range(70)]
    targets = [rng.permutation(40)[:2] for _ in range(70)]
    names = ["home"] * 70
    cases = table(users, targets)
    fusion, report = fit_fusion(cases, names, cold=cases, repeats=cases)
    best = max(report[name] for name in SOURCES)
    for weights in (fusion.weights["home"], fusion.weights[""], fusion.cold, fusion.with_repeats):
        coefficients = np.array([np.multiply(weights[name], fusion.shapes[name]) for name in SOURCES], np.float32)
        assert cases.ndcg(coefficients) >= best - 1e-6


def test_scenarios_differ_where_their_users_do() -> None:
    users = [lists(item_cf=[1, 2, 3], popular=[4, 5, 6])] * 120
    targets = [np.array([1, 2, 3])] * 60 + [np.array([4, 5, 6])] * 60
    fusion, _ = fit_fusion(table(users, targets), ["home"] * 60 + ["cart"] * 60)
    home, cart = fusion.resolve("home", {}), fusion.resolve("cart", {})
    assert set(fusion.fuse(users[0], home, 3).rows_C.tolist()) == {1, 2, 3}
    assert set(fusion.fuse(users[0], cart, 3).rows_C.tolist()) == {4, 5, 6}


def test_a_scenario_like_all_others_keeps_the_weights_of_the_shop() -> None:
    """Sixty cases, in which one source alone is often better than the fusion, by luck."""
    kept = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        users, targets = [], []
        for _ in range(460):
            rows = rng.permutation(90)
            places = np.minimum(rng.geometric(0.08, 3), 25)
            users.append(lists())
            for name, place in zip(("two_tower", "item_cf", "popular"), places.tolist(), strict=True):
                others = rng.permutation(rows[1:])[:25].tolist()
                users[-1][name] = ranked([*others[: place - 1], int(rows[0]), *others[place - 1 :]])
            targets.append(rows[:1])
        fusion, _ = fit_fusion(table(users, targets), [""] * 400 + ["home"] * 60, num_shop=400)
        kept += fusion.weights["home"] == fusion.weights[""]
    assert kept >= 10


def test_the_service_ranks_as_the_fit_judged() -> None:
    rng = np.random.default_rng(3)
    users = [
        {name: ranked(rng.permutation(80)[:30].tolist(), np.sort(rng.random(30))[::-1].tolist()) for name in SOURCES}
        for _ in range(60)
    ]
    targets = [rng.permutation(80)[:3] for _ in range(60)]
    cases = table(users, targets)
    coefficients = rng.random((4, 3)).astype(np.float32)
    weights = dict(zip(SOURCES, coefficients.sum(1).tolist(), strict=True))
    shapes = dict(zip(SOURCES, (coefficients / coefficients.sum(1, keepdims=True)).tolist(), strict=True))
    fusion = Fusion(shapes=shapes)
    discount = 1 / np.log2(np.arange(2, 12))
    for user, wanted, judged in zip(users, targets, cases.ndcg_U(coefficients), strict=True):
        hits = np.isin(fusion.fuse(user, weights, 10).rows_C, wanted)
        assert (hits * discount).sum() / discount[:3].sum() == pytest.approx(judged, abs=1e-5)


def test_listwise_learns_that_scores_say_more_than_ranks() -> None:
    """The target is what a source scores far above the rest, wherever the other source ranks it."""
    rng = np.random.default_rng(5)
    users, targets = [], []
    for _ in range(150):
        rows = rng.permutation(60)
        sure = rng.random() < 0.5
        scores = [10.0 if sure else 1.1, *np.linspace(1, 0, 19)]
        other = rng.permutation(60)[:20].tolist()
        users.append(lists() | {"two_tower": ranked(rows[:20].tolist(), scores), "item_cf": ranked(other)})
        targets.append(rows[:1] if sure else np.asarray(other[:1]))
    cases = table(users, targets)
    assert cases.ndcg(listwise(cases)) > cases.ndcg(rank_fusion(cases))


def test_a_long_list_by_scores_alone_keeps_its_order() -> None:
    shapes = shapes_of(np.array([[0, 0, 5], [0, 0, 0]], np.float32))
    assert shapes.sum(1) == pytest.approx(1.0)
    fusion = Fusion(shapes={"a": shapes[0].tolist()})
    rows = np.random.default_rng(0).permutation(200).tolist()
    assert fusion.fuse({"a": ranked(rows)}, {"a": 2.0}, 200).rows_C.tolist() == rows


def test_the_simpler_kind_wins_a_tie() -> None:
    users, targets = noisy(90)
    cases = table(users, targets)
    alone = single(cases, 1)
    chosen, figures = choose(cases, {"first": lambda _: alone, "second": lambda _: 2 * alone})
    assert figures["first"] == figures["second"]
    assert np.array_equal(chosen, alone)
    assert np.array_equal(best_single(cases), alone)


def test_given_weights_are_taken_as_they_are() -> None:
    fusion = Fusion({"": {"two_tower": 2.0, "item_cf": 0.5}})
    assert fusion.resolve("home", {"popular": 1.5, "two_tower": "learned"}) == {"popular": 1.5, "two_tower": 2.0}


def test_a_scenario_that_shows_past_items_again_has_weights_for_that() -> None:
    fusion = Fusion({"email": {"repeat": 0.1}}, {"repeat": 0.2}, {"repeat": 0.9})
    assert fusion.resolve("email", {"repeat": "learned"}) == {"repeat": 0.9}
    assert fusion.resolve("email", {"repeat": "learned"}, is_cold=True) == {"repeat": 0.2}
    assert fusion.resolve("email", {}) == {"repeat": 0.1}


def test_fused_scores_fall_and_ranks_say_who_brought_what() -> None:
    found = Fusion().fuse({"a": ranked([5, 6]), "b": ranked([6, 7]), "off": ranked([9])}, {"a": 1.0, "b": 1.0}, 10)
    assert found.rows_C.tolist() == [6, 5, 7]
    assert found.scores_C[0] == pytest.approx((1 + 21 / 22) / 2)
    assert np.all(np.diff(found.scores_C) <= 0)
    assert 0 < found.scores_C[-1] <= found.scores_C[0] <= 1
    assert found.sources_of(0) == ["a", "b"]
    assert found.ranks["b"].tolist() == [1, 0, 2]


def test_the_three_views_of_a_list() -> None:
    seen = views(np.asarray([4.0, 3.0, 2.0], np.float32))
    assert seen == pytest.approx(np.array([[1, 1, 1], [3 / 4, 21 / 22, 0.5], [3 / 5, 21 / 23, 0]]))
    long = views(np.linspace(2, 0, 2 * DEPTH - 1).astype(np.float32))
    assert long[DEPTH - 1 :, 2] == pytest.approx(0.0, abs=1e-6)
    assert views(np.ones(3, np.float32))[:, 2].tolist() == [0, 0, 0]  # nothing said
    assert views(np.empty(0, np.float32)).shape == (0, 3)
    assert sum(BY_FLAT_RANK) == 1
