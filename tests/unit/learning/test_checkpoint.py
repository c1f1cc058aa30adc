"""A training that is stopped and taken up again ends where one that was never stopped ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.encoding.encoder import Encoder
from app.errors import Cancelled
from app.learning.checkpoint import KEPT, Checkpoints, RunRecord, key_of
from app.learning.dataset import Interactions, interactions
from app.learning.inputs import Inputs, encode_inputs
from app.learning.training import Trainer, TrainingLog, tower_config
from app.learning.training_config import TrainingConfig
from app.model.runner import TowerRunner
from app.model.towers import Towers
from app.types import Progress, no_progress, utc_now
from tests.unit.learning.builders import shop

CONFIG = TrainingConfig(epochs=5, seed=4)
Score = Callable[[TowerRunner], float]


def make() -> tuple[Interactions, Inputs]:
    rows = [
        (f"u{user}", f"thing {(user * 3 + n * 5) % 11}", float(user * 7 + n)) for user in range(30) for n in range(8)
    ]
    data = interactions(shop(rows))
    return data, encode_inputs(shop(rows), data, Encoder(), no_progress)


@pytest.fixture(scope="module")
def material() -> tuple[Interactions, Inputs]:
    return make()


def train(
    material: tuple[Interactions, Inputs], config: TrainingConfig, progress: Progress = no_progress,
    checkpoints: Checkpoints | None = None, score: Score | None = None,
) -> tuple[dict[str, torch.Tensor], TrainingLog]:  # fmt: skip
    data, inputs = material
    torch.manual_seed(1)
    towers = Towers(tower_config(data, inputs))
    torch.manual_seed(99)  # what the process did before must not matter
    log = Trainer(data, inputs, towers, config).run(progress, score, checkpoints)
    return towers.state_dict(), log


class StopAfter:
    """Cancels at the first report behind the given epoch; keeps what was said."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.notes = epoch, list[str]()

    def __call__(self, stage: str, done: float, note: str = "") -> None:
        if note:
            self.notes.append(note)
        if note.startswith(f"epoch {self.epoch}/"):
            raise Cancelled("told to stop")


def up_and_down(runner: TowerRunner) -> float:
    """A score with its best in the third epoch, whatever the weights."""
    up_and_down.calls += 1  # type: ignore[attr-defined]
    return -abs(up_and_down.calls - 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("stopped_after", [1, 4])
@pytest.mark.parametrize("is_judged", [False, True])
def test_a_resumed_training_equals_an_uninterrupted_one(
    material: tuple[Interactions, Inputs], tmp_path: Path, stopped_after: int, is_judged: bool
) -> None:
    score = up_and_down if is_judged else None
    up_and_down.calls = 0  # type: ignore[attr-defined]
    whole, whole_log = train(material, CONFIG, score=score)
    checkpoints, first, second = Checkpoints(tmp_path), StopAfter(stopped_after), StopAfter(0)
    up_and_down.calls = 0  # type: ignore[attr-defined]
    with pytest.raises(Cancelled):
        train(material, CONFIG, first, checkpoints, score)
    resumed, resumed_log = train(material, CONFIG, second, checkpoints, score)
    assert second.notes[0] == f"goes on from a checkpoint after epoch {stopped_after}"
    assert len(second.notes) == 1 + CONFIG.epochs - stopped_after
    assert resumed_log.losses == whole_log.losses
    assert resumed_log.scores == whole_log.scores
    assert resumed_log.best_epoch == whole_log.best_epoch == (3 if is_judged else 5)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def die_in_epoch(number: int, folder: str) -> None:
    """Runs in a process of its own, and ends it the hard way."""

    def kill(stage: str, done: float, note: str = "") -> None:
        if note.startswith(f"epoch {number}/"):
            os.kill(os.getpid(), signal.SIGKILL)

    train(make(), CONFIG, kill, Checkpoints(Path(folder)))


def test_a_killed_process_leaves_what_the_next_one_goes_on_from(
    material: tuple[Interactions, Inputs], tmp_path: Path
) -> None:
    code = f"from tests.unit.learning.test_checkpoint import die_in_epoch; die_in_epoch(2, {str(tmp_path)!r})"
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    died = subprocess.run([sys.executable, "-c", code], env=environment, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    told = StopAfter(0)
    resumed, _ = train(material, CONFIG, told, Checkpoints(tmp_path))
    assert told.notes[0] == "goes on from a checkpoint after epoch 2"
    whole, _ = train(material, CONFIG)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_finished_training_is_not_done_twice(material: tuple[Interactions, Inputs], tmp_path: Path) -> None:
    first, log = train(material, CONFIG, checkpoints=Checkpoints(tmp_path))
    told = StopAfter(0)
    again, log_again = train(material, CONFIG, told, Checkpoints(tmp_path))
    assert told.notes == ["goes on from a checkpoint after epoch 5"]
    assert log_again.losses == log.losses
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_a_checkpoint_of_anything_else_is_left_alone(material: tuple[Interactions, Inputs], tmp_path: Path) -> None:
    data, inputs = material
    checkpoints = Checkpoints(tmp_path)
    train(material, CONFIG, checkpoints=checkpoints)
    later = replace(data, at_E=data.at_E + np.linspace(0, 1, len(data)))
    fewer = data.where(np.arange(len(data)) != 5)
    others = [((later, inputs), CONFIG), ((fewer, inputs), CONFIG), (material, replace(CONFIG, seed=5)),
              ((data, replace(inputs, text_NT=inputs.text_NT[::-1].copy())), CONFIG)]  # fmt: skip
    for other, config in others:
        told = StopAfter(0)
        train(other, config, told, Checkpoints(tmp_path))
        assert told.notes[0].startswith("epoch 1/5")


def test_a_torn_checkpoint_counts_as_none(material: tuple[Interactions, Inputs], tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    whole, _ = train(material, CONFIG, checkpoints=checkpoints)
    (path,) = tmp_path.glob("*.pt")
    path.write_bytes(path.read_bytes()[:1000])
    told = StopAfter(0)
    again, _ = train(material, CONFIG, told, checkpoints)
    assert told.notes[0].startswith("epoch 1/5")
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_files_are_bounded_and_cleared(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "new folder")
    for number in range(KEPT + 3):
        checkpoints.save(key_of(number), {"number": number})
        os.utime(tmp_path / "new folder" / f"{key_of(number)}.pt", (number, number))
    assert len(list((tmp_path / "new folder").iterdir())) == KEPT
    assert checkpoints.load(key_of(KEPT + 2)) == {"number": KEPT + 2}
    assert checkpoints.load(key_of(0)) is None
    checkpoints.clear()
    assert not list((tmp_path / "new folder").iterdir())


def test_a_run_is_taken_up_only_by_its_like_and_in_time(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    run = RunRecord("full", utc_now().isoformat(), 17, "digest")
    checkpoints.begin(run)
    assert checkpoints.interrupted("full") is None  # no checkpoint yet: nothing to save
    checkpoints.save("a", {})
    assert checkpoints.interrupted("full") == run
    assert checkpoints.interrupted("incremental") is None
    checkpoints.begin(replace(run, started_at="2020-01-01T00:00:00+00:00"))
    assert checkpoints.interrupted("full") is None
    (tmp_path / "run.json").write_text("{")
    assert checkpoints.interrupted("full") is None


def test_a_full_disk_costs_the_checkpoint_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    Checkpoints(tmp_path / "file" / "below").save("a", {})  # a folder that cannot be made
    assert "no checkpoint could be written" in caplog.text
