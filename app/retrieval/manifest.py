"""The manifest of a model artifact: what it was made of, how it measured, and the checksum of every file beside it."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from app.errors import BadArtifact
from app.pauses import Pause, no_pause
from app.types import Json

FORMAT = 2  # 2: sources held generically
MANIFEST = "manifest.json"
LIBRARIES = ("torch", "faiss-cpu", "sentence-transformers", "numpy", "scipy", "polars")


@dataclass(frozen=True)
class Manifest:
    """data: {"from", "until" (RFC 3339 or null), "events", "users", "items"}. scenarios: names in row order, row 0 is "".

    sources: candidate source -> parameters it was fitted with. metrics: {model: {"all" or scenario: {metric: {"mean", "low", "high"}}}}, as judged before it went live.
    """

    version: str
    created_at: str
    mode: str
    seed: int
    encoder: str  # Encoder.key
    encoder_name: str
    text_dim: int
    prompt_version: str
    data: Mapping[str, Json]
    scenarios: tuple[str, ...]
    vocabulary: Mapping[str, Json]
    fusion: Mapping[str, Json]
    sources: Mapping[str, Mapping[str, Json]]
    index: Mapping[str, Json] = field(default_factory=dict)  # kind, recall
    metrics: Mapping[str, Json] = field(default_factory=dict)
    training: Mapping[str, Json] = field(default_factory=dict)  # epochs, loss, seconds, peak memory
    transfer: Mapping[str, Json] = field(default_factory=dict)  # see `retrieval.transfer.Transfer`
    calibration: Mapping[str, Json] = field(default_factory=dict)  # see `retrieval.calibration.Calibration`
    ranker: Mapping[str, Json] = field(
        default_factory=dict
    )  # see `retrieval.ranker.SlateRanker`; older versions have none
    privacy: Mapping[str, Json] = field(
        default_factory=dict
    )  # of differentially private towers: what was spent and what it covers; empty: trained as usual
    catalogue_revision: int = 0
    format: int = FORMAT
    libraries: Mapping[str, str] = field(
        default_factory=lambda: {name: importlib.metadata.version(name) for name in LIBRARIES}
    )

    def write(self, directory: Path) -> None:
        """Last step of saving: checksums of all files that stand beside it."""
        sums = {path.name: sha256(path) for path in sorted(directory.iterdir()) if path.is_file()}
        (directory / MANIFEST).write_bytes(
            orjson.dumps(self.__dict__ | {"checksums": sums}, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
        )

    @classmethod
    def read(cls, directory: Path, pause: Pause = no_pause) -> Manifest:
        """Checks format and checksums. Raises BadArtifact naming what is missing or altered."""
        try:
            held: dict[str, Any] = orjson.loads((directory / MANIFEST).read_bytes())
        except (OSError, ValueError) as error:
            raise BadArtifact(f"model {directory.name}: the manifest is missing or unreadable") from error
        if held.get("format") != FORMAT:
            raise BadArtifact(
                f"model {directory.name}: format {held.get('format')}, this release reads {FORMAT}; train a new version "
                "with `duoscene train`"
            )
        for name, expected in held.pop("checksums").items():
            path = directory / name
            if path.parent != directory or not path.is_file():
                raise BadArtifact(f"model {directory.name}: {name} is missing")
            if sha256(path) != expected:
                raise BadArtifact(f"model {directory.name}: {name} does not match its checksum")
            pause()
        held["scenarios"] = tuple(held["scenarios"])
        return cls(**held)


def check_artifact(directory: Path, version: str) -> None:
    """That every file is there and unaltered, and that it is this version. Raises BadArtifact."""
    found = Manifest.read(directory).version
    if found != version:
        raise BadArtifact(f"model {version}: its files are those of version {found}")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
