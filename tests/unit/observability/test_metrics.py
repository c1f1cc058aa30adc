"""Several worker processes answer a scrape as one."""

import os
import subprocess
import sys
from pathlib import Path

WORKER = """
import sys
from app.observability import metrics
old, new = sys.argv[1:]
metrics.record_slate("home", old, ["popular"], ["user_state"])
metrics.record_slate("home", new, [], [])
metrics.record_request("GET", "/healthz", 200, 0.002)
metrics.record_events(accepted=2, duplicates=1, rejected=0)
metrics.record_dropped_impressions(3)
"""
SCRAPE = "from app.observability import metrics; sys = __import__('sys'); sys.stdout.buffer.write(metrics.exposition())"


def run(script: str, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_processes_are_added_up_and_the_last_swap_counts(tmp_path: Path) -> None:
    for _ in range(2):
        run(WORKER, tmp_path, "v1", "v2")
    lines = set(run(SCRAPE, tmp_path).splitlines())
    assert {
        'duoscene_slates_total{scenario="home"} 4.0',
        'duoscene_slate_fallbacks_total{fallback="popular",scenario="home"} 2.0',
        'duoscene_slates_degraded_total{dependency="user_state"} 2.0',
        'duoscene_requests_total{method="GET",route="/healthz",status="200"} 2.0',
        'duoscene_request_seconds_count{method="GET",route="/healthz"} 2.0',
        'duoscene_request_seconds_bucket{le="0.0025",method="GET",route="/healthz"} 2.0',
        'duoscene_events_total{result="accepted"} 4.0',
        'duoscene_events_total{result="duplicate"} 2.0',
        "duoscene_impressions_dropped_total 6.0",
        'duoscene_model_live{version="v1"} 0.0',
        'duoscene_model_live{version="v2"} 1.0',
    } <= lines
