"""Row on encoding: our encoder beside sentence-transformers itself, with the same texts and threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from app.benchmarks.bench import Bench
from app.benchmarks.report import Bound, Row
from app.benchmarks.shop import make_shop
from app.catalogue.records import items_of
from app.encoding.encoder import BATCH, Encoder, load_model
from app.features.texts import item_text

TEXTS_PER_SECOND = 200  # for each second of the plan


def encoding_row(bench: Bench) -> Iterator[Row]:
    num = max(200, int(TEXTS_PER_SECOND * bench.plan.seconds))
    texts = [item_text(item) for item in items_of(make_shop(num, 10).items)]
    in_order = sorted(texts, key=len)
    encoder, model = Encoder(), load_model("default", "bfloat16")
    ways: list[Callable[[], Any]] = [
        lambda: model.encode(in_order, batch_size=BATCH, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False),
        lambda: encoder.encode(texts),
    ]  # fmt: skip
    for way in ways:
        way()
    bench.progress("encoding", 0.0)
    taken = sorted(
        (tuple(seconds(way) for way in ways) for _ in range(bench.plan.rounds)), key=lambda pair: pair[0] / pair[1]
    )
    bare, ours = taken[(len(taken) - 1) // 2]
    yield Row(
        "encode", f"{num:,} different item texts, all-MiniLM-L6-v2, {next(model.parameters()).dtype} numbers, {torch.get_num_threads()} threads",
        "sentence-transformers alone, texts sorted by length",
        {
            "texts_per_s": round(num / ours, 1), "reference_texts_per_s": round(num / bare, 1),
            "ratio": round(bare / ours, 4),
        },
        (Bound("ratio", least=0.85),),
    )  # fmt: skip


def seconds(way: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    way()
    return time.perf_counter() - begin
