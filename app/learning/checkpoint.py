"""Checkpoints: what a training writes after every epoch, and goes on from when its process was killed or its job cancelled.

A checkpoint is found by its key, the digest of all that decides how the training goes (events, texts, configuration, first
weights), so one of other data is never picked up. Beside the checkpoints stands the record of the run that wrote them: until
which event it had read, so that the next run can read the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

KEPT = 3  # files: a run has no more trainings (tune, fit on the past, fit on everything)
RESUMABLE = timedelta(hours=12)  # after which a fresh run is worth more than the time saved
RUN = "run.json"
State = dict[str, Any]
log = logging.getLogger(__name__)


def key_of(*parts: object) -> str:
    """Digest of arrays, tensors and anything with a faithful repr."""
    digest = hashlib.blake2b(torch.__version__.encode(), digest_size=16)
    for part in parts:
        if isinstance(part, torch.Tensor):
            part = part.detach().cpu().numpy()
        if isinstance(part, np.ndarray):
            digest.update(repr((part.shape, part.dtype)).encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\x1f")
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """until: number of the newest event that was read. data: digest of what was read up to there."""

    mode: str
    started_at: str
    until: int
    data: str


@dataclass(frozen=True)
class Checkpoints:
    """One folder for one run at a time; at most KEPT files, of which only those of the run matter."""

    folder: Path

    def load(self, key: str) -> State | None:
        """None where there is none. A torn or foreign file counts as none."""
        path = self._path(key)
        try:
            state: State = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, training from the start is right
            log.warning("checkpoint %s cannot be read (%s): training starts over", path.name, type(error).__name__)
            return None
        return state

    def save(self, key: str, state: State) -> None:
        """Whole or not at all: a kill in between leaves the one before. A full disk costs the checkpoint, not the training."""
        try:
            with self._replaced(self._path(key)) as part:
                torch.save(state, part)
        except OSError as error:
            log.warning("no checkpoint could be written: %s", error.strerror)
            return
        written = sorted(self.folder.glob("*.pt"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in written[KEPT:]:
            path.unlink(missing_ok=True)

    def begin(self, run: RunRecord) -> None:
        with contextlib.suppress(OSError), self._replaced(self.folder / RUN) as part:
            part.write_bytes(orjson.dumps(asdict(run)))

    def interrupted(self, mode: str) -> RunRecord | None:
        """The run that left checkpoints behind, if it was of this mode and is not too old."""
        try:
            run = RunRecord(**orjson.loads((self.folder / RUN).read_bytes()))
            age = datetime.now(UTC) - datetime.fromisoformat(run.started_at)
        except (OSError, ValueError, TypeError):
            return None
        fits = run.mode == mode and age < RESUMABLE and any(self.folder.glob("*.pt"))
        return run if fits else None

    def clear(self) -> None:
        """After a run that came to its end."""
        for path in [*self.folder.glob("*.pt"), *self.folder.glob("*.tmp"), self.folder / RUN]:
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.pt"

    @contextlib.contextmanager
    def _replaced(self, path: Path) -> Iterator[Path]:
        """A file to write that takes the place of `path` at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
        os.close(handle)
        part = Path(name)
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
