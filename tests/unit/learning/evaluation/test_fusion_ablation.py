"""Every way of making a slate is what serving would show by it; the verdict follows from the intervals."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.encoding.encoder import Encoder
from app.errors import Invalid
from app.features.ranking import FEATURES
from app.features.ranking.names import ROW
from app.learning.assembly import replace_manifest
from app.learning.dataset import Interactions, interactions
from app.learning.evaluation.ablation import check_wanted
from app.learning.evaluation.compare import judge
from app.learning.evaluation.fusion_ablation import (
    ALONE,
    GIVEN,
    LEFT_OUT,
    RANKER_OFF,
    SERVED,
    ablate_fusion,
    compare_ways,
    same_budget,
)
from app.learning.evaluation.html_report import ablation_html
from app.learning.evaluation.rank import Ranker
from app.learning.evaluation.table import fusion_table, verdict_line
from app.learning.fit import fit
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs, encode_inputs
from app.learning.splits import Split, split
from app.learning.training_config import TrainingConfig
from app.model.ranker import RankerConfig, RankerNet
from app.retrieval.candidates import Ranked
from app.retrieval.fusion import UNFITTED
from app.retrieval.sources import LEARNABLE
from app.types import no_progress
from tests.unit.learning.test_fit import checkerboard

CONFIG = FitConfig(protocol="loo", training=TrainingConfig(epochs=1))
WEIGHTS = {"item_cf": 1.0, "two_tower": 0.5, "popular": 0.25, "content": 0.0}


@pytest.fixture(scope="module")
def data() -> Interactions:
    return interactions(checkerboard())


@pytest.fixture(scope="module")
def inputs(data: Interactions) -> Inputs:
    return encode_inputs(checkerboard(), data, Encoder(), no_progress)


@pytest.fixture(scope="module")
def judged(data: Interactions) -> Split:
    return split(data, "loo", "exclude")


@pytest.fixture(scope="module")
def ranker(data: Interactions, inputs: Inputs, judged: Split) -> Ranker:
    """With weights that are known here."""
    snapshot = fit(judged.train, inputs, CONFIG, no_progress)
    return Ranker(replace_manifest(snapshot, fusion={"weights": {"": WEIGHTS}}), data, inputs)


@pytest.fixture(scope="module")
def report(ranker: Ranker, judged: Split) -> dict[str, Any]:
    return compare_ways(ranker, judged, CONFIG, no_progress)


def row(report: dict[str, Any], group: str, variant: str) -> dict[str, Any]:
    return next(row for row in report["rows"] if (row["group"], row["variant"]) == (group, variant))


def test_every_way_has_a_row(report: dict[str, Any]) -> None:
    ways = [(row["group"], row["variant"]) for row in report["rows"]]
    assert ways == [
        (SERVED, SERVED), (SERVED, RANKER_OFF), *((LEFT_OUT, name) for name in LEARNABLE),
        *((ALONE, name) for name in LEARNABLE), (GIVEN, "all equal"), (GIVEN, "before any fit"),
    ]  # fmt: skip
    assert report["judged_users"] == 60


@pytest.mark.parametrize(
    ("group", "variant", "weights"),
    [
        (SERVED, SERVED, None),
        (LEFT_OUT, "item_cf", {"two_tower": 0.5, "popular": 0.25}),
        (LEFT_OUT, "popular", {"item_cf": 1.0, "two_tower": 0.5}),
        (ALONE, "matrix_factorisation", {"matrix_factorisation": 1.0}),
        (ALONE, "trending", {"trending": 1.0}),
        (GIVEN, "all equal", dict.fromkeys(LEARNABLE, 1.0)),
        (GIVEN, "before any fit", UNFITTED),
    ],
)
def test_a_way_is_what_serving_shows_by_its_weights(
    report: dict[str, Any], ranker: Ranker, judged: Split, group: str, variant: str, weights: dict[str, float] | None
) -> None:
    topk_UK = ranker.rank(judged, 50, "exclude", weights, anywhere=True)
    expected = judge(topk_UK, judged, ranker.inputs.text_NT).as_json()
    found = row(report, group, variant)
    assert {name: found[name] for name in ("ndcg@10", "recall@50", "coverage@10")} == {
        name: expected[name] for name in ("ndcg@10", "recall@50", "coverage@10")
    }


def test_a_source_without_weight_is_not_missed(report: dict[str, Any]) -> None:
    assert row(report, LEFT_OUT, "content")["against_served"] == {"mean": 0, "low": 0, "high": 0}
    assert row(report, LEFT_OUT, "item_cf")["against_served"]["mean"] != 0


def test_what_is_left_out_gives_its_share_of_the_candidates_to_the_others() -> None:
    lists = {name: Ranked(np.arange(400), np.linspace(1, 0, 400).astype(np.float32)) for name in "abcd"}
    served = {"a": 1.0, "b": 0.5, "c": 0.2, "d": 0.0}
    for used, depth in ((served, 200), ({"a": 1.0, "c": 0.2, "d": 0.0}, 300), (dict.fromkeys("abcd", 1.0), 150)):
        cut = same_budget(lists, served, used)
        assert {len(ranked.rows_K) for ranked in cut.values()} == {depth}


def test_the_ranker_is_switched_off_for_its_row_alone(
    data: Interactions, inputs: Inputs, judged: Split, ranker: Ranker
) -> None:
    """A ranker that likes what nobody else does."""
    net = RankerNet(
        RankerConfig(len(FEATURES), ranker.snapshot.manifest.text_dim),
        np.zeros(len(FEATURES), np.float32),
        np.ones(len(FEATURES), np.float32),
    )
    with torch.no_grad():
        net.wide.weight[0, ROW["tower of last"]] = -50.0
    choice = {"order": "ranker", "objective": "ranker"}
    held = {"features": list(FEATURES), "choices": {"": choice, "without history": choice}}
    ranked = replace(replace_manifest(ranker.snapshot, ranker=held), ranker_arrays=net.arrays())
    report: dict[str, Any] = compare_ways(Ranker(ranked, data, inputs), judged, CONFIG, no_progress)
    assert report["ordered_by"] == "ranker"
    served, off = row(report, SERVED, SERVED), row(report, SERVED, RANKER_OFF)
    for of, use_ranker in ((served, True), (off, False)):
        topk_UK = Ranker(ranked, data, inputs, use_ranker=use_ranker).rank(judged, 50, "exclude", anywhere=True)
        assert of["ndcg@10"] == judge(topk_UK, judged, inputs.text_NT).as_json()["ndcg@10"]
    assert off["against_served"]["mean"] > 0


def test_the_verdict_is_about_intervals(data: Interactions, inputs: Inputs, judged: Split, ranker: Ranker) -> None:
    """The same source alone is no better than itself; by a source that finds nothing, fusion with a good one is."""
    alone = Ranker(replace_manifest(ranker.snapshot, fusion={"weights": {"": {"item_cf": 1.0}}}), data, inputs)
    report: dict[str, Any] = compare_ways(alone, judged, CONFIG, no_progress)
    assert report["beats_best_source"] is (report["against_best_source"]["low"] > 0) is False
    line = verdict_line(report)
    assert line.startswith("beats the best single source with non-overlapping 95 % intervals: no (served 0.")
    apart = {**report["rows"][0], "ndcg@10": {"mean": 0.9, "low": 0.8, "high": 1.0}}
    better = {**report, "rows": [apart, *report["rows"][1:]], "beats_best_source": True}
    assert "intervals: yes (served 0.9000 [0.8000, 1.0000], " in verdict_line(better)


def test_it_fits_by_itself_and_is_shown(data: Interactions, inputs: Inputs, judged: Split) -> None:
    report = ablate_fusion(data, inputs, CONFIG, judged, no_progress)
    assert fusion_table(report).row_count == len(report["rows"])  # type: ignore[arg-type]
    page = ablation_html({"fusion": report, "command": "duoscene evaluate --ablate fusion", "peak_memory_mib": 1_234})
    assert page.count("<svg") == 1
    assert "non-overlapping 95 % intervals: " in page
    assert f"<td>{RANKER_OFF}</td>" in page


def test_unknown_names_are_refused_before_any_data_is_read() -> None:
    check_wanted(("fusion", "text", "all", "id"))
    with pytest.raises(Invalid, match=r"called 'fusions'; there are: .*fusion"):
        check_wanted(("fusions",))
