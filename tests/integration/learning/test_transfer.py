"""A retraining run on a small sample shop: the guard's report is stored with the version, and its model ranks by the choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.catalogue.sample_shop import SampleShop, generate_sample_shop
from app.encoding.encoder import Encoder
from app.learning.assembly import replace_manifest
from app.learning.dataset import interactions
from app.learning.evaluation.rank import Ranker
from app.learning.evaluation.transfer_table import transfer_table
from app.learning.inputs import encode_inputs
from app.learning.jobs import Job
from app.learning.run import TRANSFER, Material, RetrainDeps, retrain
from app.learning.splits import temporal
from app.learning.training_config import TrainingConfig
from app.retrieval.snapshot import Snapshot
from app.retrieval.transfer import OPTIONS
from app.scenarios.defaults import READY_MADE
from app.types import Json, no_progress, utc_now


@pytest.fixture(scope="module")
def sample() -> SampleShop:
    return generate_sample_shop(1, num_items=150, num_users=500)


def test_the_report_is_stored_and_the_model_ranks_by_it(sample: SampleShop, tmp_path: Path) -> None:
    encoder = Encoder()

    def publish(directory: Path, version: str) -> None:
        directory.rename(tmp_path / version)

    data = interactions(sample.data)
    material = Material(sample.data.items, sample.data.users, data)
    deps = RetrainDeps(material, READY_MADE, 1, encoder, publish, training=TrainingConfig(epochs=3, seed=1))
    version = retrain(Job("01J", "full", state="running", created_at=utc_now()), deps, no_progress).version
    model = Snapshot.load(tmp_path / version.version)
    report = version.metrics[TRANSFER]
    assert isinstance(report, dict)
    assert report
    assert report == model.manifest.metrics[TRANSFER] == model.transfer.report
    for name, row in report.items():
        assert isinstance(row, dict)
        assert row["choice"] in OPTIONS
        assert row["choice"] == model.transfer.of(name)
        assert row["users"] >= 50  # type: ignore[operator]
    table = transfer_table(report)
    assert table is not None
    assert len(table.rows) == len(report)
    assert set(model.runner.deltas) == set(model.transfer.separate)

    inputs = encode_inputs(sample.data, data, encoder, no_progress, READY_MADE)
    split, name = temporal(data), next(iter(report))
    row = data.scenarios.index(name)

    def lists(transfer: dict[str, Json], scenario: int) -> np.ndarray:
        snapshot = replace_manifest(model, transfer=transfer)
        return Ranker(snapshot, data, inputs).rank(split, 10, "exclude", weights={"two_tower": 1.0}, scenario=scenario)

    nowhere = lists({}, 0)
    assert np.array_equal(lists({"choices": {name: "shared"}}, row), nowhere)
    assert not np.array_equal(lists({"choices": {name: "adapter"}}, row), nowhere)
