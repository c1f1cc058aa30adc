"""Slates with a ranker in the artifact: who orders them, what the reasons see of it, and artifacts of releases without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from app.encoding.encoder import Encoder
from app.features.ranking import FEATURES
from app.features.ranking.names import ROW
from app.feedback.state import HistoryEntry, UserState
from app.language.interpret import Interpretation
from app.model.ranker import RankerConfig, RankerNet
from app.retrieval.manifest import MANIFEST
from app.retrieval.snapshot import Snapshot
from app.scenarios.scenario import Objective, Scenario
from app.serving.live import LiveSnapshot
from app.serving.ordering import sort_items
from app.serving.pipeline import draft_slate
from app.serving.queries import AskedWords
from app.serving.reasons.causes import Cause
from app.serving.reasons.leave_out import scores_at, scores_of, shares_of_causes
from app.serving.rules import Asked
from app.serving.slate import SlateRequest
from tests.integration.serving.conftest import NOW
from tests.integration.serving.slates import draft_of, ids_of, live_of

HOME = Scenario("home", "Home page.", n=8)
EVERYWHERE = {"order": "ranker", "objective": "ranker"}


def ranked_snapshot(trained: Snapshot, **wide: Mapping[str, float]) -> Snapshot:
    """`trained` with a ranker whose logits are sums of features. wide: head -> feature -> weight, and `bias`."""
    net = RankerNet(
        RankerConfig(len(FEATURES), trained.manifest.text_dim),
        np.zeros(len(FEATURES), np.float32),
        np.ones(len(FEATURES), np.float32),
    )
    with torch.no_grad():
        for row, head in enumerate(("click", "cart_add", "purchase")):
            for name, weight in wide.get(head, {}).items():
                if name == "bias":
                    net.wide.bias[row] = weight
                else:
                    net.wide.weight[row, ROW[name]] = weight
    held = {
        "features": list(FEATURES), "choices": {"": EVERYWHERE, "without history": EVERYWHERE}, "median_price": 20.0,
    }  # fmt: skip
    return replace(trained, manifest=replace(trained.manifest, ranker=held), ranker_arrays=net.arrays())


@pytest.fixture(scope="module")
def by_price(trained: Snapshot, encoder: Encoder) -> LiveSnapshot:
    """Clicks fall with the price, purchases after a click rise with it."""
    ranked = ranked_snapshot(
        trained, click={"price": -1.0, "tower of last": 2.0}, purchase={"price": 4.0, "bias": -14.0}
    )
    return live_of(ranked, encoder)


def did(*item_ids: str) -> UserState:
    return UserState(tuple(HistoryEntry(i, "click", NOW.timestamp() - 60, i) for i in item_ids))


def prices(draft_ids: list[str]) -> list[float]:
    return [10.0 + 5 * int(item_id[-1]) for item_id in draft_ids]


def test_the_ranker_orders_where_validation_chose_it(
    by_price: LiveSnapshot, trained: Snapshot, encoder: Encoder
) -> None:
    draft = draft_of(by_price, HOME, state=did("fish-rod-1"))
    assert draft.ranking
    assert draft.ranking.method == "ranker"
    assert set(prices(ids_of(draft))) == {10.0}
    assert 0 < draft.picks[0].score < 1
    plain = draft_of(live_of(trained, encoder), HOME, state=did("fish-rod-1"))
    assert plain.ranking
    assert plain.ranking.method == "fusion"


def test_the_objective_turns_the_heads_into_the_order(by_price: LiveSnapshot) -> None:
    for_sales = replace(HOME, objective=Objective(click=0, purchase=1))
    draft = draft_of(by_price, for_sales, state=did("fish-rod-1"))
    assert set(prices(ids_of(draft))) == {25.0}
    for_revenue = replace(HOME, objective=Objective(click=0, value=1))
    worth = draft_of(by_price, for_revenue, state=did("fish-rod-1"))
    by_row = {pick.row: pick.score for pick in draft.picks}
    assert all(
        pick.score == pytest.approx(25.0 * by_row[pick.row], rel=1e-5) for pick in worth.picks if pick.row in by_row
    )
    assert set(by_row) & {pick.row for pick in worth.picks}


def test_given_weights_are_honoured_exactly(by_price: LiveSnapshot, trained: Snapshot, encoder: Encoder) -> None:
    given = replace(HOME, sources={"two_tower": 1.0, "popular": 0.25})
    state = did("fish-rod-1", "cook-pan-2")
    with_ranker, without = (
        draft_of(by_price, given, state=state),
        draft_of(live_of(trained, encoder), given, state=state),
    )
    assert [(p.row, p.score) for p in with_ranker.picks] == [(p.row, p.score) for p in without.picks]
    assert with_ranker.ranking
    assert with_ranker.ranking.method == "fusion"
    objective = draft_of(by_price, replace(given, objective=Objective(purchase=1)), state=state).ranking
    assert objective
    assert objective.method == "fusion; the objective does not act"


def test_the_callers_own_list_is_ranked_the_same(by_price: LiveSnapshot) -> None:
    asked = Asked(SlateRequest("home"), HOME, None, None, did("fish-rod-1"), None, True, NOW, 3)
    listed = sort_items(asked, ["fish-net-3", "fish-net-0", "fish-net-2"], by_price)
    assert ids_of(listed.draft) == ["fish-net-0", "fish-net-2", "fish-net-3"]
    slate = {pick.row: pick.score for pick in draft_of(by_price, HOME, state=did("fish-rod-1")).picks}
    shared = [pick for pick in listed.draft.picks if pick.row in slate]
    assert all(pick.score == pytest.approx(slate[pick.row], rel=1e-4) for pick in shared)


def test_scores_of_some_places_are_those_of_the_slate(by_price: LiveSnapshot) -> None:
    draft = draft_of(by_price, HOME, state=did("fish-rod-1", "cook-pan-2"))
    assert draft.ranking
    rows_K = np.asarray([draft.picks[3].row, draft.picks[0].row, 10**6])
    whole_K = scores_at(draft.ranking, rows_K)
    some_XK = scores_of([draft.asked] * 2, by_price, [draft.ranking.candidates] * 2, rows_K)
    np.testing.assert_allclose(some_XK, [whole_K] * 2, rtol=1e-4)
    assert whole_K[2] == 0.0


def shares(live: LiveSnapshot, asked: Asked, cause: Cause) -> np.ndarray:
    """Of a slate, by that cause."""
    draft = draft_slate(asked, live)
    assert draft.ranking
    rows_K = np.asarray([pick.row for pick in draft.picks])
    return shares_of_causes(asked, live, draft.admission.allowed_R, draft.ranking, rows_K, [cause], 400)[0]


def test_what_a_cause_brought_is_told_in_the_scores_of_the_slate(
    by_price: LiveSnapshot, trained: Snapshot, encoder: Encoder
) -> None:
    """Without a history, and without words, another method would serve; its scores say nothing beside these."""
    asked = Asked(SlateRequest("home"), HOME, None, None, did("fish-rod-1", "cook-pan-2"), None, True, NOW, 8)
    assert by_price.model
    ranked, taste = by_price.model.snapshot, Cause("taste")
    choices = {"": EVERYWHERE, "without history": {"order": "fusion", "objective": "fusion"}}
    held = {**ranked.manifest.ranker, "choices": choices}
    cold_by_fusion = live_of(replace(ranked, manifest=replace(ranked.manifest, ranker=held)), encoder)
    np.testing.assert_allclose(shares(cold_by_fusion, asked, taste), shares(by_price, asked, taste), atol=1e-5)
    words = AskedWords(Interpretation("knife"), None, encoder.encode(["knife"])[0])
    searched, query = replace(asked, words=words), Cause("query", words="knife")
    by_fusion = shares(live_of(trained, encoder), searched, query)
    np.testing.assert_allclose(shares(by_price, searched, query), by_fusion, atol=1e-5)
    assert by_fusion.max() > 0.5


def test_an_artifact_keeps_its_ranker(by_price: LiveSnapshot, tmp_path: Path, encoder: Encoder) -> None:
    assert by_price.model
    by_price.model.snapshot.save(tmp_path / "v")
    again = live_of(Snapshot.load(tmp_path / "v"), encoder)
    for state in (UserState(), did("fish-rod-1", "cook-pan-2")):
        before, after = draft_of(by_price, HOME, state=state), draft_of(again, HOME, state=state)
        assert [p.row for p in before.picks] == [p.row for p in after.picks]
        assert [p.score for p in before.picks] == pytest.approx([p.score for p in after.picks], rel=1e-5)


def test_an_artifact_of_a_release_without_rankers_serves_by_fusion(
    trained: Snapshot, tmp_path: Path, encoder: Encoder
) -> None:
    trained.save(tmp_path / "old")
    held = orjson.loads((tmp_path / "old" / MANIFEST).read_bytes())
    del held["ranker"]
    (tmp_path / "old" / MANIFEST).write_bytes(orjson.dumps(held))
    draft = draft_of(live_of(Snapshot.load(tmp_path / "old"), encoder), HOME, state=did("fish-rod-1"))
    assert draft.ranking
    assert draft.ranking.method == "fusion"
    assert len(draft.picks) == HOME.n
