"""Does a shop that is retrained a day at a time drift away from one that is retrained in full?

Run: python -m tests.bench.bench_drift --data online-retail --json tests/bench/results/drift.json

A model is fitted on everything up to a day, then goes on for `--days` trading days, each time from the model of the day before on
that day's events, as an incremental retraining run does (trial and live model; the gate's judging is left out of both). Every
`--full-every` days a full fit on the same events stands beside it, and so does the first model, untouched. All are judged on the events of the `--horizon` days that follow, by the protocol of `duoscene evaluate`
(whole catalogue, items of the user's past excluded): users, items and scenarios are those known on the day.

Cost model: seconds of CPU (all threads) of fitting, without the encoding of texts, which is cached for both. An increment costs the fit of
the linear sources, a few steps of the towers and a fit of the fusion, the first two twice.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from app.catalogue.loading import read_shop_data
from app.catalogue.shop_data import ShopData
from app.encoding.cache import FileVectorCache
from app.encoding.encoder import Encoder
from app.evaluating import cache_folder
from app.learning.dataset import Interactions, interactions
from app.learning.evaluation.metrics import per_user
from app.learning.evaluation.rank import Ranker
from app.learning.fit import extend, tune
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs, encode_inputs
from app.learning.splits import Split, temporal, temporal_at
from app.learning.training_config import TrainingConfig
from app.learning.warm_start import continue_from, retuned
from app.retrieval.snapshot import Snapshot
from app.types import Float32Array, Json, no_progress

DAY = 86_400.0


@dataclass(frozen=True)
class Shop:
    """The whole story; `until` gives it as it was known at a moment."""

    data: ShopData
    encoder: Encoder

    def until(self, at: float) -> ShopData:
        moment = pl.from_epoch(pl.lit(at * 1e6).cast(pl.Int64), "us").dt.replace_time_zone("UTC")
        events = self.data.events.filter(pl.col("occurred_at") <= moment)
        known = events.select("item_id").unique()
        users = events.select("user_id").unique()
        return ShopData(
            self.data.items.join(known, on="item_id", how="semi", maintain_order="left"),
            self.data.users.join(users, on="user_id", how="semi", maintain_order="left"),
            events,
        )


def days_of(shop: ShopData, num: int, horizon: int) -> list[float]:
    """The ends of the last `num` trading days that still have `horizon` days behind them, and of the one before the first."""
    at = shop.events["occurred_at"].dt.epoch("us").to_numpy() / 1e6
    last = at.max() - horizon * DAY
    ends = np.unique(np.ceil(at[at <= last] / DAY)) * DAY
    return [float(end) for end in ends[-num - 1 :]]


@dataclass(frozen=True)
class Model:
    """What goes live, and the trial that knows less: the next increment weighs its sources by what that one has not seen."""

    final: Snapshot
    trial: Snapshot


class Contest:
    def __init__(self, shop: Shop, config: FitConfig, horizon: int) -> None:
        self.shop, self.config, self.horizon = shop, config, horizon
        whole = interactions(shop.data)
        self._whole = whole
        self._inputs = encode_inputs(shop.data, whole, shop.encoder, no_progress)

    def split(self, at: float) -> Split:
        """What is asked for at the end of a day."""
        return temporal_at(self._whole.where(self._whole.at_E <= at + self.horizon * DAY), at)

    def ndcg(self, snapshot: Snapshot, split: Split, source: str | None = None) -> Float32Array:
        """Of each user: of the service's slate, or of one source alone."""
        weights = {source: 1.0} if source else None
        topk_UK = Ranker(snapshot, self._whole, self._inputs).rank(split, 10, "exclude", weights=weights, anywhere=True)
        return np.asarray(per_user(topk_UK, split.targets)["ndcg@10"], np.float32)

    def fitted(self, at: float) -> tuple[Model, float]:
        """As a full retraining run makes it: a trial of the past, and from it the model of everything."""
        data, inputs = self._known(at)

        def work() -> Model:
            past = temporal(data).train
            choices, towers = tune(past, inputs, self.config, tell)
            trial = extend(towers, past, inputs, self.config, choices, tell)
            return Model(extend(trial.runner.towers, data, inputs, self.config, choices, tell), trial)

        return timed(work)

    def continued(self, model: Model, at: float) -> tuple[Model, float]:
        """As an incremental retraining run makes it."""
        data, inputs = self._known(at, model.final)

        def step(snapshot: Snapshot, seen: Interactions) -> Snapshot:
            tuned = retuned(model.trial, seen, inputs, self.config, tell)
            return continue_from(snapshot, seen, inputs, self.config, tell, tuned)

        return timed(lambda: Model(step(model.final, data), step(model.trial, temporal(data).train)))

    def _known(self, at: float, warm: Snapshot | None = None) -> tuple[Interactions, Inputs]:
        shop = self.shop.until(at)
        data = interactions(shop)
        vocabulary = warm.vocabulary if warm is not None else None
        return data, encode_inputs(shop, data, self.shop.encoder, no_progress, vocabulary=vocabulary)


def tell(stage: str, done: float, note: str = "") -> None:
    if note:
        print(f"  {time.process_time():8.1f}  {stage}: {note}", file=sys.stderr, flush=True)


def timed(work: Callable[[], Model]) -> tuple[Model, float]:
    """With the seconds of CPU it took, whatever else the machine did."""
    started = time.process_time()
    return work(), time.process_time() - started


def run(
    shop: Shop, config: FitConfig, num_days: int, horizon: int, full_every: int, keep: Callable[[dict[str, Json]], None]
) -> None:
    """keep: takes the report as it stands after every day."""
    ends = days_of(shop.data, num_days, horizon)
    contest = Contest(shop, config, horizon)
    first, seconds = contest.fitted(ends[0])
    print(f"full fit until {stamp(ends[0])}: {seconds:.0f} s of CPU", flush=True)
    costs, full_costs = [], [seconds]
    model, rows = first, list[dict[str, Json]]()
    for number, at in enumerate(ends[1:], start=1):
        model, seconds = contest.continued(model, at)
        costs.append(seconds)
        split = contest.split(at)
        row: dict[str, Json] = {"day": number, "until": stamp(at), "users": len(split.users), "seconds": round(seconds, 1),
                                "items": len(model.final.item_ids), "scenarios": len(model.final.manifest.scenarios)}  # fmt: skip
        ours = contest.ndcg(model.final, split)
        row |= {"incremental": mean(ours), "untouched": mean(contest.ndcg(first.final, split))}
        row |= {"incremental_towers": mean(contest.ndcg(model.final, split, "two_tower"))}
        if number % full_every == 0:
            full, seconds = contest.fitted(at)
            full_costs.append(seconds)
            theirs = contest.ndcg(full.final, split)
            row |= {"full": mean(theirs), "full_seconds": round(seconds, 1), **interval(ours - theirs)}
            row |= {"full_towers": mean(contest.ndcg(full.final, split, "two_tower"))}
            row |= {"untouched_towers": mean(contest.ndcg(first.final, split, "two_tower"))}
        rows.append(row)
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        keep(summary(rows, costs, full_costs))


def summary(rows: list[dict[str, Json]], costs: list[float], full_costs: list[float]) -> dict[str, Json]:
    """NDCG@10 is the mean of the days on which a full fit stood beside."""
    compared = [row for row in rows if "full" in row]
    names = ("incremental", "full", "untouched", "incremental_towers", "full_towers", "untouched_towers")
    ndcg = {name: round(float(np.mean([row[name] for row in compared])), 4) for name in names if compared}
    return {
        "days": list(rows),
        "ndcg@10": dict(ndcg),
        "against_full": round(ndcg["incremental"] / ndcg["full"] - 1, 4) if ndcg else None,
        "cost_ratio": round(float(np.mean(costs) / np.mean(full_costs)), 4),
        "increment_cpu_seconds": round(float(np.mean(costs)), 1),
        "full_cpu_seconds": round(float(np.mean(full_costs)), 1),
    }


def mean(values: Float32Array) -> float:
    return round(float(values.mean()), 4)


def interval(difference_U: Float32Array, draws: int = 2_000) -> Mapping[str, float]:
    """Of the mean difference to the full fit: 95 %, paired bootstrap over users."""
    rng = np.random.default_rng(0)
    means = difference_U[rng.integers(0, len(difference_U), (draws, len(difference_U)))].mean(1)
    return {
        "difference_low": round(float(np.quantile(means, 0.025)), 4),
        "difference_high": round(float(np.quantile(means, 0.975)), 4),
    }


def stamp(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--events", default="purchase", help="types kept; empty: all")
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--horizon", type=int, default=7, help="days whose events are the targets")
    parser.add_argument("--full-every", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=0, help="of full fits; 0: by size")
    parser.add_argument(
        "--no-guard", action="store_true", help="leave the guard out of the full fits, which makes them cheaper"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    data = read_shop_data(given.data)
    if given.events:
        data = ShopData(data.items, data.users, data.events.filter(pl.col("type").is_in(given.events.split(","))))
    encoder = Encoder(cache=FileVectorCache(cache_folder()))
    config = FitConfig(
        training=TrainingConfig(epochs=given.epochs, seed=given.seed), encoder_key=encoder.key, guard=not given.no_guard
    )
    settings = {
        name: str(value) if isinstance(value, Path) else value for name, value in vars(given).items() if name != "json"
    }
    settings["data"] = given.data.name

    def keep(report: dict[str, Json]) -> None:
        if given.json:
            given.json.write_bytes(orjson.dumps({"settings": settings, **report}, option=orjson.OPT_INDENT_2))
        print({name: value for name, value in report.items() if name != "days"}, flush=True)

    run(Shop(data, encoder), config, given.days, given.horizon, given.full_every, keep)


if __name__ == "__main__":
    main()
