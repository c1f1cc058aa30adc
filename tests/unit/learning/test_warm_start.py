"""Increments: which events are trained on, and what survives a catalogue that grew, shrank and changed."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from app.benchmarks.rank import untrained
from app.encoding.encoder import Encoder
from app.features.items import ItemVocabulary
from app.learning.dataset import Interactions, interactions
from app.learning.evaluation.metrics import per_user
from app.learning.evaluation.rank import Ranker
from app.learning.fit import fit
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs, encode_inputs
from app.learning.sources import FITTERS
from app.learning.splits import temporal_at
from app.learning.training_config import TrainingConfig
from app.learning.warm_start import NewEvents, continue_from, fits, in_rows_of, retuned
from app.learning.windows import NOTHING
from app.retrieval.snapshot import Snapshot
from app.types import no_progress
from tests.unit.learning.builders import START, log, shop

LENGTH = 6
CONFIG = FitConfig(training=TrainingConfig(epochs=4, seed=2), encoder_key="e")


def history(user: str, old: int, new: int) -> list[tuple[str, str, float]]:
    """Events of the first 100 hours, then of the next."""
    return [(user, f"i{n % 9}", n) for n in range(old)] + [(user, f"i{n % 9}", 100.5 + n) for n in range(new)]


SINCE = START.timestamp() + 100 * 3600


def test_every_new_event_stands_behind_its_history() -> None:
    data = log(
        [*history("a", 20, 2), *history("b", 0, 3), *history("c", 30, 0), *history("d", 3, 1), *history("e", 9, 14)]
    )
    found = NewEvents(SINCE, replayed=0.0)(data, LENGTH, np.random.default_rng(0)).events()
    new = set(np.flatnonzero(data.at_E > SINCE).tolist())
    before = dict.fromkeys(new, 0)  # events that stand before it in the window where it sees most
    for row in found:
        kept = row[row != NOTHING].tolist()
        assert row[len(kept) :].tolist() == [NOTHING] * (LENGTH - len(kept))
        assert np.diff(kept).tolist() == [1] * (len(kept) - 1)
        assert len(set(data.user_E[kept].tolist())) == 1
        assert new & set(kept)
        for place, event in enumerate(kept):
            if event in new:
                before[event] = max(before[event], place)
    for event, seen in before.items():
        assert seen >= min(LENGTH // 2, event - data.starts_U1[data.user_E[event]])


def test_older_windows_are_replayed_in_proportion() -> None:
    data = log([row for user in range(40) for row in history(f"u{user:02}", 30, int(user < 4))])
    cut = NewEvents(SINCE, replayed=2.0)
    rng = np.random.default_rng(0)
    first, second = cut(data, LENGTH, rng).events(), cut(data, LENGTH, rng).events()
    is_new = (data.at_E[np.maximum(first, 0)] > SINCE) & (first != NOTHING)
    assert is_new.any(1).sum() == 4
    assert len(first) == len(second) == 4 * 3
    assert first.tolist() != second.tolist()
    assert len(np.unique(first[:, 0])) == len(first)


def test_nothing_new_is_nothing_to_train_on() -> None:
    data = log(history("a", 20, 0))
    assert len(NewEvents(SINCE)(data, LENGTH, np.random.default_rng(0))) == 0


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


def material(rows: list[tuple[str, str, float]], encoder: Encoder, vocabulary: ItemVocabulary | None = None,
             scenarios: list[str] | None = None) -> tuple[Interactions, Inputs]:  # fmt: skip
    made = shop(rows, scenarios=scenarios)
    data = interactions(made)
    return data, encode_inputs(made, data, encoder, no_progress, vocabulary=vocabulary)


ROWS = [row for user in range(24) for row in history(f"u{user:02}", 8, 0)]


@pytest.fixture(scope="module")
def first(encoder: Encoder) -> Snapshot:
    return fit(*material(ROWS, encoder, scenarios=["home", "search"] * (len(ROWS) // 2)), CONFIG, no_progress)


def test_a_catalogue_that_grew_and_shrank(first: Snapshot, encoder: Encoder) -> None:
    """New ids become learned, known ones keep what was learned, those that are gone are gone; users and scenarios likewise."""
    kept = [row for row in ROWS if row[1] != "i3"]
    new = [(f"u{user:02}", f"new{user % 2}", 101.0) for user in range(12)] + [
        ("stranger", "i1", 102.0),
        ("stranger", "new0", 103.0),
    ]
    scenarios = ["home"] * len(kept) + ["app"] * len(new)
    data, inputs = material(kept + new, encoder, first.vocabulary, scenarios)
    second = continue_from(first, data, inputs, CONFIG, no_progress)
    assert set(second.item_ids) - set(first.item_ids) == {"new0", "new1"}
    assert set(first.item_ids) - set(second.item_ids) == {"i3"}
    assert second.manifest.scenarios == ("", "app", "home")
    ids = second.runner.towers.item.id.weight.detach()
    assert bool(ids[second.row_of["new0"] + 1].any())
    old = first.runner.towers.item.id.weight.detach()[first.row_of["i1"] + 1]
    assert torch.cosine_similarity(ids[second.row_of["i1"] + 1], old, dim=0) > 0.9
    assert bool(second.runner.towers.user.scenario.id.weight.detach()[1].any())
    assert second.manifest.training["continued_from"] == first.version
    assert np.isfinite(second.vectors_ND).all()


def test_without_new_events_the_towers_stay(first: Snapshot, encoder: Encoder) -> None:
    data, inputs = material(ROWS, encoder, first.vocabulary, ["home", "search"] * (len(ROWS) // 2))
    again = continue_from(first, data, inputs, CONFIG, no_progress)
    assert np.allclose(again.vectors_ND, first.vectors_ND, atol=1e-5)
    assert again.manifest.fusion == first.manifest.fusion
    assert again.manifest.sources == first.manifest.sources


def test_an_increment_of_an_increment_starts_where_that_one_ended(first: Snapshot, encoder: Encoder) -> None:
    """Only what is newer than the last increment is new."""
    scenarios = ["home", "search"] * (len(ROWS) // 2)
    grown = [*ROWS, *((f"u{user:02}", "i8", 101.0) for user in range(24))]
    data, inputs = material(grown, encoder, first.vocabulary, [*scenarios, *["home"] * 24])
    second = continue_from(first, data, inputs, CONFIG, no_progress)
    third = continue_from(second, data, inputs, CONFIG, no_progress)
    assert not np.allclose(second.vectors_ND[:8], first.vectors_ND, atol=1e-5)  # i8 is the last
    assert np.allclose(third.vectors_ND, second.vectors_ND, atol=1e-5)


def test_a_model_of_other_texts_is_not_continued(first: Snapshot) -> None:
    assert fits(first.manifest, "e")
    assert not fits(first.manifest, "another encoder")
    assert not fits(replace(first.manifest, prompt_version="1"), "e")


GROWN = [
    *ROWS,
    *((f"u{user:02}", "i8", 90.0) for user in range(2)),
    *((f"u{user:02}", "i8", 101.0) for user in range(2, 24)),
]


def test_weights_follow_what_the_trial_has_not_seen(
    first: Snapshot, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On those cases they are no worse than the weights before; too few cases change nothing."""
    data, inputs = material(GROWN, encoder, first.vocabulary, ["home"] * len(GROWN))
    past = data.where(data.at_E <= SINCE)
    trial = continue_from(first, past, inputs, CONFIG, no_progress)
    assert retuned(trial, data, inputs, CONFIG, no_progress) is None
    monkeypatch.setattr("app.learning.warm_start.MIN_USERS", 5)
    tuned = retuned(trial, data, inputs, CONFIG, no_progress)
    assert tuned is not None
    final = continue_from(first, data, inputs, CONFIG, no_progress, tuned)
    assert final.fusion == tuned.fusion
    assert final.manifest.sources == {**trial.manifest.sources, **tuned.sources}
    split = temporal_at(data, SINCE)
    past_of = in_rows_of(trial, split.train)
    better = {name: FITTERS[name].fit(past_of, inputs, found) for name, found in tuned.sources.items()}
    after_of = replace(
        trial, fitted={**trial.fitted, **better}, manifest=replace(trial.manifest, fusion=asdict(tuned.fusion))
    )
    before, after = (
        per_user(Ranker(of, data, inputs).rank(split, 10, "exclude", anywhere=True), split.targets)["ndcg@10"].mean()
        for of in (trial, after_of)
    )
    assert after >= before


def test_a_ranker_that_serves_outlives_an_increment_with_too_few_cases_for_another(
    first: Snapshot, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together with the fusion whose score it reads."""
    monkeypatch.setattr("app.learning.warm_start.MIN_USERS", 5)
    data, inputs = material(GROWN, encoder, first.vocabulary, ["home"] * len(GROWN))
    trial = continue_from(first, data.where(data.at_E <= SINCE), inputs, CONFIG, no_progress)
    fitted = untrained()
    proven = replace(
        trial, manifest=replace(trial.manifest, ranker=fitted.parameters), ranker_arrays=dict(fitted.arrays)
    )
    without, tuned = (retuned(of, data, inputs, CONFIG, no_progress) for of in (trial, proven))
    assert without is not None
    assert tuned is not None
    assert (without.ranker.arrays, without.fusion == trial.fusion) == ({}, False)
    assert (tuned.ranker.parameters, tuned.fusion) == (fitted.parameters, trial.fusion)
    assert tuned.sources == without.sources
    final = continue_from(first, data, inputs, CONFIG, no_progress, tuned)
    assert final.ranker.method("home", None, is_cold=False) == "ranker"


def test_the_half_life_follows_a_shop_whose_taste_has_turned(
    first: Snapshot, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What 30 people had long ago is behind what 5 had just now; the numbering of the trial's items is not the shop's."""
    monkeypatch.setattr("app.learning.warm_start.MIN_USERS", 5)
    crowd = [(f"c{n:02}", item, at) for n in range(30) for item, at in (("old0", 10.0), ("old1", 11.0))]
    others = [(f"o{n:02}", item, at) for n in range(20) for item, at in (("i1", 12.0), ("i2", 13.0))]
    hit = [(f"c{n:02}", "hit", 98.0) for n in range(5)]
    wanted = [(f"o{n:02}", "hit", 101.0) for n in range(20)]
    before = material([*ROWS, *crowd, *others, *hit], encoder, first.vocabulary)
    trial = continue_from(first, *before, CONFIG, no_progress)
    data, inputs = material(
        [*ROWS, *crowd, *others, *hit, ("c00", "a new one", 100.5), *wanted], encoder, first.vocabulary
    )
    tuned = retuned(trial, data, inputs, CONFIG, no_progress)
    assert tuned is not None
    half_life = tuned.sources["popular"]["half_life_days"]
    assert isinstance(half_life, float)
    assert half_life <= 1.0


def test_events_are_renumbered_as_a_snapshot_knows_them(first: Snapshot) -> None:
    data = log([("a", "i1", 1.0), ("a", "unknown", 2.0), ("b", "i7", 3.0)], scenarios=["app", "home", "search"])
    found = in_rows_of(first, data)
    assert [found.item_ids[row] for row in found.item_E] == ["i1", "i7"]
    assert [found.scenarios[row] for row in found.scenario_E] == ["", "search"]
    assert [found.user_ids[row] for row in found.user_E] == ["a", "b"]
