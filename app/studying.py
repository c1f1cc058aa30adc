"""Two studies of `evaluate`: what knowing the scenario is worth, and what a scenario's words are worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson

from app.console import progress_bar
from app.errors import BadData, Invalid
from app.evaluating import check_writable, encoder_of, paper, provenance, read_shop
from app.learning.dataset import Interactions
from app.learning.evaluation.evaluate import EvaluateConfig, fit_config, kept_interactions
from app.learning.evaluation.leave_scenario_out import leave_out
from app.learning.evaluation.scenario_study import (
    CONTROL,
    FUSED,
    TOWER,
    VARIANTS,
    Scores,
    compare_scenarios,
    judged_scenarios,
    summarise,
)  # fmt: skip
from app.learning.evaluation.study_table import study_table
from app.learning.inputs import Inputs, encode_inputs
from app.learning.splits import Split, split
from app.scenarios.defaults import READY_MADE
from app.settings import Settings
from app.types import Json, Progress

Study = Callable[[Split, Interactions, Inputs, Progress], dict[str, list[Scores]]]


def run_comparison(
    settings: Settings, data: Path, config: EvaluateConfig, models: tuple[str, ...], json: Path | None
) -> None:
    """models: of VARIANTS; none: all. Differences are those to the control, or to the first model where the control is not among them. Raises
    Invalid for another name."""
    for name in models:
        if name not in VARIANTS:
            raise Invalid(f"unknown model {name!r}; known: {', '.join(VARIANTS)}", code="unknown_model")

    def study(whole: Split, kept: Interactions, inputs: Inputs, progress: Progress) -> dict[str, list[Scores]]:
        fitting = fit_config(config, encoder_of(settings))
        return compare_scenarios(whole, kept, inputs, fitting, models or tuple(VARIANTS), config.num_seeds, progress)

    control = CONTROL if not models or CONTROL in models else models[0]
    _run(settings, data, config, study, control, json)


def run_leave_out(
    settings: Settings, data: Path, config: EvaluateConfig, names: tuple[str, ...], json: Path | None
) -> None:
    """names: scenarios to leave out, or "all". Raises Invalid for one that is not judged."""

    def study(whole: Split, kept: Interactions, inputs: Inputs, progress: Progress) -> dict[str, list[Scores]]:
        known = tuple(judged_scenarios(whole))
        chosen = known if names == ("all",) else names
        for name in chosen:
            if name not in known:
                raise Invalid(
                    f"scenario {name!r} has too few users to be judged; there are {', '.join(known)}",
                    code="unknown_scenario",
                )
        fitting = fit_config(config, encoder_of(settings))
        found: dict[str, list[Scores]] = {}
        for seed in range(config.seed, config.seed + config.num_seeds):
            seeded = replace(fitting, training=replace(fitting.training, seed=seed))
            for model, scores in leave_out(whole, kept, inputs, seeded, chosen, progress).items():
                found.setdefault(model, []).append(scores)
        return found

    _run(settings, data, config, study, "pooled", json)


def _run(settings: Settings, data: Path, config: EvaluateConfig, study: Study, control: str, json: Path | None) -> None:
    check_writable(json)
    with progress_bar() as bar:
        shop = read_shop(data, bar.report)
        kept = kept_interactions(shop, config)
        whole = split(kept, config.protocol, config.repeats)
        if config.max_users is not None:
            whole = whole.sampled(config.max_users, config.seed)
        if not judged_scenarios(whole):
            raise BadData("no scenario has enough users with a past and a future; do the events carry a scenario?")
        inputs = encode_inputs(shop, kept, encoder_of(settings), bar.report, READY_MADE)
        runs = study(whole, kept, inputs, bar.report)
    users = {name: part.users for name, (_, part) in judged_scenarios(whole).items()}
    report: dict[str, Json] = {
        "protocol": config.protocol,
        "seeds": config.num_seeds,
        "users": {name: len(of) for name, of in users.items()},
        "control": control,
        **{level: summarise(runs, level, users, control) for level in (TOWER, FUSED)},
        **provenance(),
    }
    for level, title in ((TOWER, "towers alone"), (FUSED, "final slates")):
        paper().print(study_table(report[level], control, f"NDCG@10 by scenario, {title}"))  # type: ignore[arg-type]
    if json is not None:
        json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
