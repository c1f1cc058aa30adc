"""The `evaluate` command: read a data folder, evaluate, show and write the report."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import orjson
from rich.console import Console

from app.catalogue.loading import open_shop
from app.catalogue.sample_shop import generate_sample_shop
from app.catalogue.shop_data import EventfulShop
from app.console import console, progress_bar
from app.encoding.cache import FileVectorCache
from app.encoding.encoder import Encoder
from app.errors import BadData
from app.learning.evaluation.ablation import ALL, FUSION, ablate, check_wanted
from app.learning.evaluation.evaluate import (
    EvaluateConfig,
    check,
    evaluate,
    fit_config,
    judged_split,
    kept_interactions,
)
from app.learning.evaluation.fusion_ablation import ablate_fusion
from app.learning.evaluation.html_report import ablation_html, html_report
from app.learning.evaluation.report import OURS
from app.learning.evaluation.table import ablation_table, difference_lines, fusion_table, tables, verdict_line
from app.learning.inputs import encode_inputs
from app.scenarios.defaults import READY_MADE
from app.settings import Settings
from app.types import Json, Progress

WIDE = 170
SAMPLE, SAMPLE_SEED = "sample", 20_260_101


def run_evaluation(
    settings: Settings,
    data: Path,
    config: EvaluateConfig,
    json: Path | None,
    dump: Path | None,
    html: Path | None = None,
) -> None:
    check(config)
    check_writable(json, dump, html)
    if dump is not None and OURS not in config.models:
        raise BadData(f"--dump writes the slates of {OURS}: name it in --models as well")
    encoder = encoder_of(settings)
    with progress_bar() as bar:
        result = evaluate(read_shop(data, bar.report), encoder, config, bar.report)
    report = result.report | provenance()
    sheet = paper()
    for part in tables(report):
        sheet.print(part)
    for line in difference_lines(report):
        sheet.print(line, markup=False, soft_wrap=True)
    sheet.print(f"peak memory {report['peak_memory_mib']:,} MiB")
    if json is not None:
        json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    if html is not None:
        html.write_text(html_report(report), "utf-8")
    if dump is not None and result.topk is not None:
        result.topk.write_parquet(dump)


def check_writable(*paths: Path | None) -> None:
    """Before the hours, not after them. Raises BadData."""
    for path in paths:
        if path is not None and path.is_dir():
            raise BadData(f"{path} is a folder: name a file to write")
        if path is not None and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
            raise BadData(f"{path} cannot be written: the folder {path.parent} does not exist or is not writable")


def run_ablation(
    settings: Settings,
    data: Path,
    config: EvaluateConfig,
    wanted: tuple[str, ...],
    json: Path | None,
    html: Path | None = None,
) -> None:
    """wanted: as `ablate` takes it, with "fusion" for what `ablate_fusion` compares. "all" is both."""
    check(config)
    check_wanted(wanted)
    check_writable(json, html)
    encoder = encoder_of(settings)
    fitting = fit_config(config, encoder)
    report: dict[str, Json] = {}
    with progress_bar() as bar:
        shop = read_shop(data, bar.report)
        kept = kept_interactions(shop, config)
        inputs = encode_inputs(shop, kept, encoder, bar.report, READY_MADE)
        if {FUSION, ALL} & set(wanted):
            report["fusion"] = ablate_fusion(kept, inputs, fitting, judged_split(kept, config)[1], bar.report)
        if towers := tuple(name for name in wanted if name != FUSION):
            report |= ablate(kept, inputs, fitting, towers, bar.report)
    report |= provenance()
    sheet = paper()
    if "fusion" in report:
        sheet.print(fusion_table(report["fusion"]))  # type: ignore[arg-type]
        sheet.print(verdict_line(report["fusion"]), markup=False, soft_wrap=True)  # type: ignore[arg-type]
    if "rows" in report:
        sheet.print(ablation_table(report))
    if json is not None:
        json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    if html is not None:
        html.write_text(ablation_html(report), "utf-8")


def read_shop(data: Path, progress: Progress) -> EventfulShop:
    """A data folder, or "sample" for the sample shop."""
    if str(data) == SAMPLE and not data.exists():
        return generate_sample_shop(SAMPLE_SEED, progress=progress).data
    return open_shop(data, progress=progress)


def encoder_of(settings: Settings) -> Encoder:
    return Encoder(settings.encoder, settings.encoder_dtype, FileVectorCache(cache_folder()))


def provenance() -> dict[str, Json]:
    return {
        "command": "duoscene " + " ".join(sys.argv[1:]),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def paper() -> Console:
    return console if console.is_terminal else Console(width=WIDE, highlight=False)  # a pipe has no edge to wrap at


def cache_folder() -> Path:
    """Encoded texts outlive a run: in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "duoscene" / "vectors"
