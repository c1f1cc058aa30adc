"""Peak memory and time of `duoscene evaluate` and `duoscene train` on a million events.

Run: python -m tests.bench.bench_memory --json tests/bench/results/memory.json
     python -m tests.bench.bench_memory --data DIR --json tests/bench/results/training.json

Synthetic shapes: many users with short histories, few with very long ones, a wide catalogue; one pass over the data, because more take
time, not memory. With a data set (duoscene layout): its import, and `duoscene train` with its own settings, until nothing is gained. Each
run is a process of its own; its peak is the kernel's (ru_maxrss), stores not included.

Cost model: 28 bytes an event once it is read, a text vector of 1.5 KB an item and different profile, a batch of 2,048 predictions; what
scales with users x items or items x items is never dense beyond a block.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from app.types import Json

WORDS = [
    "red",
    "blue",
    "small",
    "large",
    "wool",
    "cotton",
    "garden",
    "kitchen",
    "lamp",
    "chair",
    "mug",
    "bowl",
    "knife",
    "towel",
    "soap",
    "candle",
    "box",
    "frame",
    "clock",
    "rug",
]


@dataclass(frozen=True)
class Shape:
    num_users: int
    num_items: int
    skew: float  # exponent: above 1 a few users make most of the events


SHAPES = {
    "many users, short histories": Shape(400_000, 20_000, 1.0),
    "few users, long histories": Shape(200, 20_000, 2.0),
    "wide catalogue": Shape(50_000, 100_000, 1.0),
}


def write_shop(folder: Path, shape: Shape, num_events: int) -> None:
    rng = np.random.default_rng(0)
    user = (shape.num_users * rng.random(num_events) ** shape.skew).astype(np.int64)
    item = (shape.num_items * rng.random(num_events) ** 2.5).astype(np.int64)
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    pl.DataFrame({
        "event_id": np.arange(num_events), "user_id": user, "item_id": item,
        "event": rng.choice(["click", "purchase", "view"], num_events),
        "scenario": rng.choice(["home", "search", "cart"], num_events),
        "timestamp": np.sort(rng.integers(0, 90 * 86_400_000_000, num_events)) + start,
    }).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC"))).write_parquet(folder / "events.parquet")  # fmt: skip
    words = rng.integers(0, len(WORDS), (shape.num_items, 3))
    pl.DataFrame({
        "item_id": np.arange(shape.num_items), "title": [" ".join(WORDS[k] for k in row) for row in words.tolist()],
        "category": [WORDS[k] for k in words[:, 0].tolist()], "price": rng.random(shape.num_items) * 100,
    }).write_parquet(folder / "items.parquet")  # fmt: skip
    pl.DataFrame({
        "user_id": np.arange(shape.num_users), "age": rng.integers(18, 80, shape.num_users),
        "country": rng.choice(["France", "Germany", "Italy"], shape.num_users),
    }).write_parquet(folder / "users.parquet")  # fmt: skip


def measured(arguments: list[str], environment: dict[str, str]) -> dict[str, Json]:
    """Peak and seconds of one `duoscene` command; of its own process, not of the stores it starts."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", *arguments], stdout=said, stderr=subprocess.STDOUT, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            said.seek(0)
            raise SystemExit(said.read().decode()[-4_000:])
    return {
        "peak_mib": round(usage.ru_maxrss / 1024),
        "seconds": round(time.monotonic() - started),
        "cpu_seconds": round(usage.ru_utime),
    }


def of_data_set(folder: Path) -> dict[str, Json]:
    events = pl.scan_parquet(folder / "events.parquet").select(pl.len(), pl.n_unique("user_id", "item_id")).collect()
    with tempfile.TemporaryDirectory(prefix="duoscene-bench-") as scratch:
        environment = os.environ | {"DUOSCENE_DATA_DIR": scratch}
        imported = measured(["import", str(folder)], environment)
        trained = measured(["train"], environment)
    return {
        "data": folder.name, **dict(zip(("events", "users", "items"), events.row(0), strict=True)),
        "cores": len(os.sched_getaffinity(0)), "import": imported, "train": trained,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-events", type=int, default=1_000_000)
    parser.add_argument("--shape", choices=SHAPES, action="append", help="only these; repeat it")
    parser.add_argument("--command", choices=("evaluate", "train"), action="append", help="only these; repeat it")
    parser.add_argument("--models", default="popularity,duoscene", help="of evaluate")
    parser.add_argument("--data", type=Path, help="a data set in place of the shapes")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.data is not None:
        report = of_data_set(given.data.resolve())
        print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
        if given.json:
            given.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
        return
    report = {}
    for name in given.shape or SHAPES:
        with tempfile.TemporaryDirectory(prefix="duoscene-bench-") as scratch:
            folder = Path(scratch)
            write_shop(folder, SHAPES[name], given.num_events)
            environment = os.environ | {"DUOSCENE_DATA_DIR": str(folder / "data"), "DUOSCENE_RETRAIN_EPOCHS": "1"}
            of_shape: dict[str, Json] = {}
            if "evaluate" in (given.command or ("evaluate",)):
                of_shape["evaluate"] = measured(
                    ["evaluate", "--data", scratch, "--protocol", "temporal", "--epochs", "1", "--max-users", "2000", "--models", given.models],
                    environment,
                )  # fmt: skip
                print(name, "evaluate", of_shape["evaluate"], flush=True)
            if "train" in (given.command or ("train",)):
                measured(["import", scratch], environment)
                of_shape["train"] = measured(["train"], environment)
                print(name, "train", of_shape["train"], flush=True)
        report[name] = of_shape
        if given.json:
            settings = {
                "num_events": given.num_events,
                "models": given.models,
                "torch_threads": os.environ.get("OMP_NUM_THREADS"),
            }
            given.json.write_bytes(orjson.dumps({"settings": settings, "shapes": report}, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
