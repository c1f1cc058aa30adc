"""What is a scenario's description worth? Train as if the scenario had never been, then serve it by its words.

Precisely: in the training part, events of the scenario lose their label and their weight. They stay in people's histories, where
the service would also find them, but nothing is trained to predict them, and no popularity, item count, item-item weight or
fusion weight is made of them. Then the scenario is asked for, against its own targets of the judged part:

| model | asked |
| --- | --- |
| trained | of all events, in the scenario: what data would give |
| words | without the scenario, by its description |
| pooled | without the scenario, in the whole shop |
| wrong | without the scenario, by the description of another one; mean over all others |
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.learning.dataset import Interactions
from app.learning.evaluation.rank import Ranker
from app.learning.evaluation.scenario_study import FUSED, TOWER, Scores, judged_scenarios, scenario_ndcg
from app.learning.fit import fit
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs
from app.learning.splits import Split
from app.types import Progress


def leave_out(
    split: Split, data: Interactions, inputs: Inputs, config: FitConfig, names: tuple[str, ...], progress: Progress
) -> dict[str, Scores]:
    """Model -> scenario -> level -> NDCG@10 of its users. names: scenarios to leave out, one after the other; none: all judged."""
    parts = judged_scenarios(split)
    whole = Ranker(fit(split.train, inputs, config, progress), data, inputs)
    scores: dict[str, Scores] = {model: {} for model in ("trained", "words", "pooled", "wrong")}
    for name in names or tuple(parts):
        row, part = parts[name]
        scores["trained"][name] = scenario_ndcg(whole, part, config.repeats, row)
        kept = [other for other in range(len(data.scenarios)) if other != row]
        without = replace(inputs, scenario_text_ST=inputs.scenario_text_ST[kept])
        hidden = hide(split.train, row)
        snapshot = fit(hidden, without, config, progress)
        ranker = Ranker(snapshot, data, inputs)
        part = replace(part, train=replace(part.train, weight_E=hidden.weight_E))  # nor do its events make a trend
        scores["words"][name] = scenario_ndcg(ranker, part, config.repeats, row)
        scores["pooled"][name] = scenario_ndcg(ranker, part, config.repeats, 0)
        wrong = []
        for other in kept[1:]:
            text_ST = inputs.scenario_text_ST.copy()
            text_ST[row] = text_ST[other]
            other_words = Ranker(snapshot, data, replace(inputs, scenario_text_ST=text_ST))
            wrong.append(scenario_ndcg(other_words, part, config.repeats, row))
        if wrong:
            scores["wrong"][name] = {level: np.mean([of[level] for of in wrong], axis=0) for level in (TOWER, FUSED)}
        figures = ", ".join(f"{model} {of[name][TOWER].mean():.4f}" for model, of in scores.items() if name in of)
        progress("study", 1.0, f"{name} left out, towers alone: {figures}")
    return scores


def hide(train: Interactions, row: int) -> Interactions:
    """The same events, those of the scenario without label and weight, and its name unknown."""
    assert row > 0
    hidden_E = train.scenario_E == row
    scenario_E = np.where(hidden_E, 0, train.scenario_E - (train.scenario_E > row))
    return replace(
        train,
        scenarios=[name for other, name in enumerate(train.scenarios) if other != row],
        scenario_E=scenario_E.astype(train.scenario_E.dtype),
        weight_E=np.where(hidden_E, 0.0, train.weight_E).astype(train.weight_E.dtype),
    )
