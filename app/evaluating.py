"""The `evaluate` command: read a data folder, evaluate, show and write the report."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import orjson
from rich.console import Console

from app.catalogue.loading import open_shop
from app.console import console, progress_bar
from app.encoding.cache import FileVectorCache
from app.encoding.encoder import Encoder
from app.learning.evaluation.evaluate import EvaluateConfig, evaluate
from app.learning.evaluation.table import difference_lines, tables
from app.settings import Settings

WIDE = 170


def run_evaluation(
    settings: Settings, data: Path, config: EvaluateConfig, json: Path | None, dump: Path | None
) -> None:
    encoder = Encoder(settings.encoder, settings.encoder_dtype, FileVectorCache(cache_folder()))
    with progress_bar() as bar:
        result = evaluate(open_shop(data, progress=bar.report), encoder, config, bar.report)
    report = result.report | {
        "command": "duoscene " + " ".join(sys.argv[1:]),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    paper = console if console.is_terminal else Console(width=WIDE, highlight=False)  # a pipe has no edge to wrap at
    for part in tables(report):
        paper.print(part)
    for line in difference_lines(report):
        paper.print(line, markup=False, soft_wrap=True)
    if json is not None:
        json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    if dump is not None and result.topk is not None:
        result.topk.write_parquet(dump)


def cache_folder() -> Path:
    """Encoded texts outlive a run: in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "duoscene" / "vectors"
