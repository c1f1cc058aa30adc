"""What reasons cost, and how often the short list holds the true first cause.

Cost model: one retrieval and one ranking for each thing left out, in one batch (at most 24 items of the history, the history as a
whole, the profile), and one ranking for each source. Prints p50/p95/p99 for slates of 20 after 50 events. Run on a published version:

    python tests/bench/bench_reasons.py MODEL_DIR EVENTS [--users 60] [--scenario home]

MODEL_DIR: a version's folder. EVENTS: events of the shop as Parquet or Arrow, with user_id, item_id, type and occurred_at.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from app.encoding.encoder import Encoder
from app.feedback.state import HistoryEntry, UserState
from app.retrieval.snapshot import Snapshot
from app.scenarios.defaults import READY_MADE
from app.serving.live import LiveSnapshot, ServingState
from app.serving.pipeline import NUM_RANKED, draft_slate, explain_slate
from app.serving.reasons.causes import item_causes
from app.serving.reasons.leave_out import shares_of_causes
from app.serving.reasons.shortlist import MAX_EXACT, shortlist
from app.serving.rules import Asked
from app.serving.slate import SlateRequest

N, NUM_EVENTS = 20, 50


def requests(events: pl.DataFrame, num_users: int, scenario: str) -> Iterator[Asked]:
    """Of the users with the longest histories, NUM_EVENTS of different items where they have so many."""
    acted = events.filter(pl.col("type") != "impression", pl.col("user_id").is_not_null())
    top = acted.group_by("user_id").agg(pl.col("item_id").n_unique().alias("n")).sort("n", "user_id").tail(num_users)
    now = acted["occurred_at"].max()
    for user_id in top["user_id"].to_list():
        rows = acted.filter(pl.col("user_id") == user_id).sort("occurred_at").tail(NUM_EVENTS)
        history = tuple(
            HistoryEntry(item_id, kind, at.timestamp(), str(n))
            for n, (item_id, kind, at) in enumerate(rows.select("item_id", "type", "occurred_at").iter_rows())
        )
        request = SlateRequest(scenario, user_id=user_id, n=N, reasons=True)
        yield Asked(request, READY_MADE[scenario], None, None, UserState(history), None, True, now, N)


def timed(asked: Asked, live: LiveSnapshot) -> tuple[float, float, float, float]:
    """Milliseconds of the slate and of its reasons, then the same of CPU, which a busy machine does not lengthen by waiting."""
    marks = [(time.perf_counter(), time.process_time())]
    draft = draft_slate(asked, live)
    marks.append((time.perf_counter(), time.process_time()))
    explain_slate(draft)
    marks.append((time.perf_counter(), time.process_time()))
    (slate_ms, slate_cpu_ms), (reasons_ms, reasons_cpu_ms) = (np.subtract(b, a) * 1e3 for a, b in pairwise(marks))
    return slate_ms, reasons_ms, slate_cpu_ms, reasons_cpu_ms


def held(asked: Asked, live: LiveSnapshot) -> tuple[int, int, int, float]:
    """Items whose true first cause is on the short list, those that have one, causes, and the mean share kept of the first one's."""
    draft = draft_slate(asked, live)
    assert draft.ranking
    rows_K = np.asarray([pick.row for pick in draft.picks], np.int64)
    causes = item_causes(asked, live)
    short = {cause.item_id for cause in shortlist(causes, live, draft.ranking.candidates, rows_K)}
    share_XK = shares_of_causes(asked, live, draft.admission.allowed_R, draft.ranking, rows_K, causes, NUM_RANKED)
    moved_K = share_XK.max(0) > 0.01
    kept_XK = share_XK * np.asarray([cause.item_id in short for cause in causes])[:, None]
    kept_K = kept_XK.max(0)[moved_K] / share_XK.max(0)[moved_K]
    return int((kept_K > 0.999).sum()), int(moved_K.sum()), len(causes), float(kept_K.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("events", type=Path)
    parser.add_argument("--users", type=int, default=60)
    parser.add_argument("--scenario", default="home")
    options = parser.parse_args()
    live = ServingState.with_model(Encoder(), Snapshot.load(options.model), list(READY_MADE.values()), {}).current
    events = pl.read_parquet(options.events) if options.events.suffix == ".parquet" else pl.read_ipc(options.events)
    asked = list(requests(events, options.users, options.scenario))
    random.Random(1).shuffle(asked)
    timed(asked[0], live)
    columns = zip(*(timed(one, live) for one in asked), strict=True)
    for name, took in zip(("slate", "reasons", "slate, CPU", "reasons, CPU"), columns, strict=True):
        p50, p95, p99 = np.percentile(took, [50, 95, 99])
        print(f"{name:12} p50 {p50:6.1f} ms  p95 {p95:6.1f} ms  p99 {p99:6.1f} ms")
    first, moved, num_causes, kept = (sum(column) for column in zip(*(held(one, live) for one in asked), strict=True))
    print(
        f"{len(asked)} slates of {N}, {num_causes / len(asked):.1f} items in the history, {len(live.catalogue):,} in the catalogue; "
        f"short list of {MAX_EXACT}: holds the first cause of {first} of {moved} items ({first / moved:.1%}), "
        f"the first on it has {kept / moved:.1%} of its share"
    )


if __name__ == "__main__":
    main()
