"""The evaluation report: every model's figures, slices and differences as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.learning.evaluation.bootstrap import macro_interval
from app.learning.evaluation.calibration import calibration_of
from app.learning.evaluation.compare import MAIN_METRIC, Judged, difference, differences, judge, sign_test
from app.learning.evaluation.ours import OurLists, Wanted
from app.learning.evaluation.peers import PEERS
from app.learning.evaluation.peers.peer import rank
from app.learning.evaluation.peers.running import PeerLists
from app.learning.evaluation.slices import MIN_SLICE_USERS, by_history, by_item_counts, scenario_summary
from app.types import Float32Array, Int64Array, Json, Progress, no_progress

OURS = "duoscene"
NEW_ITEM_CUTOFFS = (10, 20, 50)


@dataclass(frozen=True)
class Material:
    """What was ranked. text_NT: for the diversity. models: in the order they were asked for."""

    wanted: Wanted
    peers: Sequence[PeerLists]
    ours: OurLists | None
    text_NT: Float32Array
    models: Sequence[str]


@dataclass(frozen=True)
class Ranked:
    """One model's lists. everyone: the judged users', then the strangers'. by_scenario: None where it knows no scenarios."""

    everyone: Int64Array
    by_seed: Sequence[Int64Array]
    by_scenario: Mapping[int, tuple[Int64Array, Float32Array]] | None
    seconds: float
    details: Mapping[str, Json]


def report_of(material: Material, progress: Progress) -> dict[str, Json]:
    """{"models", "differences", "scenario_differences", "skipped", "new_items", "without_history", "calibration", "details"}: all but the models and
    the skipped ones only where ours ran."""
    wanted, text_NT = material.wanted, material.text_NT
    ranked = _ranked(material)
    U = len(wanted.judged.users)
    judged = {name: judge(model.everyone[:U], wanted.judged, text_NT) for name, model in ranked.items()}
    by_scenario = {name: _by_scenario(model, wanted, text_NT) for name, model in ranked.items()}
    models: dict[str, Json] = {}
    for done, (name, model) in enumerate(ranked.items()):
        progress("report", done / len(ranked))
        models[name] = {
            "all": judged[name].as_json(),
            "users": by_history(model.everyone, wanted.everyone, text_NT),
            "items": by_item_counts(model.everyone[:U], wanted.judged, text_NT),
            "scenarios": {scenario: of.as_json() for scenario, of in by_scenario[name].items()},
            "scenario_summary": scenario_summary(by_scenario[name]),
            "seconds": model.seconds,
            **({"details": dict(model.details)} if name != OURS else {}),
        }
    report: dict[str, Json] = {
        "models": models,
        "skipped": {peer.name: peer.skipped for peer in material.peers if peer.skipped},
    }
    if material.ours is not None:
        report["details"] = dict(material.ours.details)
        report["differences"] = _differences(judged, ranked, wanted, text_NT)
        if wanted.scenarios:
            report["scenario_differences"] = {
                name: scenario_differences(by_scenario[OURS], by_scenario[name], wanted)
                for name in ranked
                if name != OURS
            }
        report["calibration"] = _calibration(material.ours, wanted)
        report["without_history"] = _without_history(material.ours, wanted, text_NT)
        report["new_items"] = _new_items(material.ours, wanted)
    return report


def _ranked(material: Material) -> dict[str, Ranked]:
    found = {
        peer.name: Ranked(peer.everyone, peer.by_seed, None, peer.seconds, peer.details)
        for peer in material.peers
        if not peer.skipped
    }
    ours = material.ours
    if ours is not None:
        found[OURS] = Ranked(ours.everyone, ours.by_seed, ours.by_scenario, ours.seconds, ours.details)
    return {name: found[name] for name in material.models if name in found}


def _calibration(ours: OurLists, wanted: Wanted) -> Json:
    """Of the main slates, and under "scenarios" of each scenario's own, where the fusion orders: the curve is that of its scores. None where the
    model has no calibration, or the ranker orders, whose errors stand in "details"."""
    U, names = len(wanted.judged.users), wanted.judged.train.scenarios
    whole = calibration_of(ours.calibration, ours.everyone[:U], ours.scores[:U], wanted.judged)
    if whole is None or _is_ranked(ours, ""):
        return None
    scenarios: dict[str, Json] = {
        names[row]: calibration_of(ours.calibration, *ours.by_scenario[row], part)
        for row, part in wanted.scenarios.items()
        if not _is_ranked(ours, names[row])
    }
    return {**whole, "scenarios": scenarios}


def _is_ranked(ours: OurLists, scenario: str) -> bool:
    figures = ours.details.get("ranker")
    choices = figures.get("choices") if isinstance(figures, Mapping) else None
    choice = (choices.get(scenario) or choices.get("")) if isinstance(choices, Mapping) else None
    return isinstance(choice, Mapping) and choice.get("order") == "ranker"


def _without_history(ours: OurLists, wanted: Wanted, text_NT: Float32Array) -> Json:
    """The judged users, of whom nothing but the profile is told, beside the list that everybody gets: cold users under any split.
    Without repeats what they had is left out of both lists, or being right about the past would count as wrong."""
    unknown, popularity = wanted.unknown, PEERS["popularity"]
    scorer = popularity.family.fit(unknown.train, popularity.defaults, wanted.repeats, 0, no_progress)
    topk_UK = rank(scorer, unknown, ours.without_history.shape[1], wanted.repeats, popularity.family.is_personal)
    mine, theirs = judge(ours.without_history, unknown, text_NT), judge(topk_UK, unknown, text_NT)
    return {
        "num_users": len(unknown.users),
        OURS: mine.as_json(),
        popularity.name: theirs.as_json(),
        "difference": difference(mine, theirs).as_json(),
    }


def _by_scenario(model: Ranked, wanted: Wanted, text_NT: Float32Array) -> dict[str, Judged]:
    """One slate per user and scenario against the targets of that scenario; peers know no scenario and show the same list."""
    place_of = {user: place for place, user in enumerate(wanted.judged.users.tolist())}
    result = {}
    for row, part in wanted.scenarios.items():
        if model.by_scenario is None:
            topk_UK = model.everyone[[place_of[user] for user in part.users.tolist()]]
        else:
            topk_UK = model.by_scenario[row][0]
        result[part.train.scenarios[row]] = judge(topk_UK, part, text_NT)
    return result


def _differences(
    judged: Mapping[str, Judged], ranked: Mapping[str, Ranked], wanted: Wanted, text_NT: Float32Array
) -> dict[str, Json]:
    """{peer: {metric: ours - theirs with its paired interval, "seeds": the sign test over seeds}}."""

    def seeds(name: str) -> list[Judged]:
        return [judged[name], *(judge(topk_UK, wanted.judged, text_NT) for topk_UK in ranked[name].by_seed)]

    ours, result = seeds(OURS), {}
    for name in judged:
        if name != OURS:
            metrics = {metric: delta.as_json() for metric, delta in differences(judged[OURS], judged[name]).items()}
            result[name] = {**metrics, "seeds": sign_test(ours, seeds(name)).as_json()}
    return result  # type: ignore[return-value]


def scenario_differences(ours: Mapping[str, Judged], theirs: Mapping[str, Judged], wanted: Wanted) -> dict[str, Json]:
    """{"scenarios": {scenario: ours - theirs in the main metric}, "macro": of their mean, "worst": the lowest's name}."""
    parts = {part.train.scenarios[row]: part for row, part in wanted.scenarios.items()}
    deltas = {name: difference(ours[name], theirs[name]) for name in parts}
    place_of = {user: place for place, user in enumerate(wanted.judged.users.tolist())}
    values_US = np.full((len(place_of), len(parts)), np.nan)
    for s, (name, part) in enumerate(parts.items()):
        places = [place_of[user] for user in part.users.tolist()]
        values_US[places, s] = ours[name].metrics_U[MAIN_METRIC] - theirs[name].metrics_U[MAIN_METRIC]
    return {
        "scenarios": {name: delta.as_json() for name, delta in deltas.items()},
        "macro": macro_interval(values_US).as_json(),
        "worst": min(deltas, key=lambda name: deltas[name].mean),
    }


def _new_items(ours: OurLists, wanted: Wanted) -> Json:
    """Targets without a training event: ours knows them by their text, peers not at all. chance: of recall@k at random."""
    new, train = wanted.new, wanted.judged.train
    num_new = len(train.item_ids) - len(np.unique(train.item_E))
    if len(new.users) < MIN_SLICE_USERS:
        return None
    no_texts = np.zeros((len(train.item_ids), 1), np.float32)
    return {
        "num_users": len(new.users),
        "targets": new.num_targets,
        "new_items": num_new,
        "among_new": judge(ours.new_alone, new, no_texts).as_json(),
        "in_the_whole_catalogue": judge(ours.new_in_all, new, no_texts).as_json(),
        "chance": {f"recall@{k}": min(1.0, k / max(1, num_new)) for k in NEW_ITEM_CUTOFFS},
    }
