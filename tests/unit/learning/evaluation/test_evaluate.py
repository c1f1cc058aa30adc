"""The whole evaluation on a log of two tastes in two scenarios: what the report holds, and that it can be recomputed."""

from dataclasses import replace

import numpy as np
import orjson
import polars as pl
import pytest

from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.errors import BadData, Invalid
from app.learning.evaluation.evaluate import EvaluateConfig, Evaluation, evaluate
from app.learning.training_config import TrainingConfig
from app.types import no_progress
from tests.unit.learning.builders import shop
from tests.unit.learning.evaluation.test_peers import two_tastes

PEERS = ("popularity", "item_knn", "ials")
CONFIG = EvaluateConfig(
    protocol="loo", models=(*PEERS, "duoscene"), num_seeds=2, tuning_seconds=0.0, training=TrainingConfig(epochs=2)
)


@pytest.fixture(scope="module")
def data() -> ShopData:
    rows = two_tastes(80)
    return shop(rows, scenarios=["home" if number // 6 % 4 < 2 else "cart" for number in range(len(rows))])


@pytest.fixture(scope="module")
def result(data: ShopData) -> Evaluation:
    return evaluate(data, Encoder(), CONFIG, no_progress)


def test_the_report_is_json_and_every_model_stands_in_it(result: Evaluation) -> None:
    report = orjson.loads(orjson.dumps(result.report))
    assert list(report["models"]) == list(CONFIG.models)
    assert report["split"]["judged_users"] == 80
    assert set(report["models"]["duoscene"]["scenarios"]) == {"cart", "home"}
    assert report["models"]["ials"]["details"]["configurations_tried"] == 1
    with_and_without = report["details"]["ranker"]["ndcg@10"]
    assert with_and_without["on"] == pytest.approx(report["models"]["duoscene"]["all"]["ndcg@10"]["mean"], abs=1e-5)
    assert set(with_and_without) == {"on", "off"}
    assert report["calibration"]["pairs"] == 800
    assert set(report["calibration"]["scenarios"]) == {"cart", "home"}
    assert (
        sum(of["pairs"] for of in report["calibration"]["scenarios"].values()) == 800
    )  # one target of each user, in one of them


def test_without_their_history_users_are_strangers(result: Evaluation) -> None:
    """Nobody has a profile here, so all that is left is what everybody chose: two tastes in one list."""
    unknown, known = result.report["without_history"], result.report["models"]["duoscene"]["all"]  # type: ignore[index,call-overload]
    assert unknown["num_users"] == 80  # type: ignore[index,call-overload]
    assert unknown["duoscene"]["ndcg@10"]["mean"] < 0.9 * known["ndcg@10"]["mean"]  # type: ignore[index,call-overload]
    difference = unknown["duoscene"]["ndcg@10"]["mean"] - unknown["popularity"]["ndcg@10"]["mean"]  # type: ignore[index,call-overload]
    assert unknown["difference"]["mean"] == pytest.approx(difference)  # type: ignore[index,call-overload]


def test_the_dump_gives_the_figures_again(data: ShopData, result: Evaluation) -> None:
    assert result.topk is not None
    last = data.events.sort("user_id", "occurred_at").group_by("user_id", maintain_order=True).last()
    hits = result.topk.filter(pl.col("rank") <= 10).join(last.select("user_id", "item_id"), on=["user_id", "item_id"])
    ndcg = float((1.0 / np.log2(hits["rank"].to_numpy() + 1)).sum()) / len(last)
    assert ndcg == pytest.approx(result.report["models"]["duoscene"]["all"]["ndcg@10"]["mean"])  # type: ignore[index,call-overload]


def test_differences_are_of_the_means_and_count_the_seeds(result: Evaluation) -> None:
    models, deltas = result.report["models"], result.report["differences"]
    assert set(deltas) == set(PEERS)  # type: ignore[arg-type]
    for name in PEERS:
        for metric in ("ndcg@10", "recall@50"):
            ours, theirs = (models[model]["all"][metric]["mean"] for model in ("duoscene", name))  # type: ignore[index,call-overload]
            assert deltas[name][metric]["mean"] == pytest.approx(ours - theirs)  # type: ignore[index,call-overload]
        assert deltas[name]["seeds"]["seeds"] == 2  # type: ignore[index,call-overload]


def test_scenarios_have_differences_of_their_own(result: Evaluation) -> None:
    models, deltas = result.report["models"], result.report["scenario_differences"]
    of = deltas["popularity"]  # type: ignore[index,call-overload]
    means = {
        scenario: models["duoscene"]["scenarios"][scenario]["ndcg@10"]["mean"]  # type: ignore[index,call-overload]
        - models["popularity"]["scenarios"][scenario]["ndcg@10"]["mean"]  # type: ignore[index,call-overload]
        for scenario in ("cart", "home")
    }
    assert {name: delta["mean"] for name, delta in of["scenarios"].items()} == pytest.approx(means)
    assert of["macro"]["mean"] == pytest.approx(sum(means.values()) / 2)
    assert of["worst"] == min(means, key=lambda name: means[name])


def test_peers_alone_need_no_encoder(data: ShopData) -> None:
    config = replace(CONFIG, models=("item_knn",), num_seeds=1, max_users=30)
    found = evaluate(data, None, config, no_progress)  # type: ignore[arg-type]
    assert found.topk is None
    assert found.report["split"]["judged_users"] == 30  # type: ignore[index,call-overload]
    assert found.report["models"]["item_knn"]["all"]["hr@10"]["mean"] == 1.0  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        (replace(CONFIG, models=("magic",)), Invalid, "unknown model 'magic'; known: popularity"),
        (replace(CONFIG, events=("purchse",)), BadData, "no event has the type 'purchse'; there are: click"),
        (replace(CONFIG, min_value=4.0), BadData, "no event has a value of at least 4"),
    ],
)
def test_what_cannot_be_done_is_said(
    data: ShopData, config: EvaluateConfig, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        evaluate(data, None, config, no_progress)  # type: ignore[arg-type]


def test_nobody_to_judge_is_said() -> None:
    with pytest.raises(BadData, match="no user has both a past and a future"):
        evaluate(shop([("a", "x", 0.0), ("b", "y", 1.0)]), None, CONFIG, no_progress)  # type: ignore[arg-type]
