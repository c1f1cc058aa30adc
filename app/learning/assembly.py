"""Everything that was fitted on some interactions, as one snapshot. Shapes: N items, D dim."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np

from app.features.texts import PROMPT_VERSION
from app.learning.dataset import Interactions
from app.learning.fit_config import Choices, FitConfig
from app.learning.inputs import Inputs
from app.learning.scenario_prior import scenario_prior
from app.model.runner import TowerRunner
from app.retrieval.manifest import Manifest
from app.retrieval.snapshot import Snapshot
from app.retrieval.sources import Fitted
from app.types import Json


def assemble(
    data: Interactions,
    inputs: Inputs,
    config: FitConfig,
    choices: Choices,
    runner: TowerRunner,
    fitted: Mapping[str, Fitted],
    training: Mapping[str, Json],
) -> Snapshot:
    """Everything fitted on `data`, as one snapshot. training: what the manifest shall say of it."""
    now = datetime.now(UTC)
    known = data.at_E[data.at_E > 0]
    window = (
        [datetime.fromtimestamp(at, UTC).isoformat() for at in (known.min(), known.max())]
        if len(known)
        else [None, None]
    )
    manifest = Manifest(
        version=new_version(now),
        created_at=now.isoformat(),
        mode=config.mode,
        seed=config.training.seed,
        encoder=config.encoder_key,
        encoder_name=config.encoder_name,
        text_dim=inputs.text_NT.shape[1],
        prompt_version=PROMPT_VERSION,
        data={
            "from": window[0],
            "until": window[1],
            "events": len(data),
            "users": len(np.unique(data.user_E)),
            "items": len(data.item_ids),
        },
        scenarios=tuple(data.scenarios),
        vocabulary=asdict(inputs.vocabulary),
        fusion=asdict(choices.fusion),
        calibration=asdict(choices.calibration),
        transfer=asdict(choices.transfer),
        ranker=choices.ranker.parameters,
        sources={name: source.parameters for name, source in fitted.items()},
        training={**training, **choices.report, "epochs": choices.epochs},
        privacy=choices.privacy,
        catalogue_revision=config.catalogue_revision,
    )
    return Snapshot(
        manifest=manifest,
        items=inputs.item_frame,
        runner=runner,
        vectors_ND=vectors_of(runner, data, inputs),
        item_counts_N=data.collapsed.item_counts_N,
        scenario_text_ST=inputs.scenario_text_ST,
        prior_SN=scenario_prior(data),
        fitted=fitted,
        ranker_arrays=choices.ranker.arrays,
    )


def vectors_of(
    runner: TowerRunner, data: Interactions, inputs: Inputs
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    counts_N = data.collapsed.item_counts_N
    ids_N = np.where(counts_N > 0, np.arange(1, len(counts_N) + 1), 0)
    return runner.item_vectors(ids_N, inputs.text_NT, counts_N, inputs.features)


def replace_manifest(snapshot: Snapshot, **changes: object) -> Snapshot:
    return replace(snapshot, manifest=replace(snapshot.manifest, **changes))  # type: ignore[arg-type]


def new_version(now: datetime) -> str:
    """Time and four hex digits, e.g. 2026-01-31T12-00-00Z-ab12."""
    digest = hashlib.blake2b(f"{now.isoformat()}{time.monotonic_ns()}".encode(), digest_size=2).hexdigest()
    return f"{now:%Y-%m-%dT%H-%M-%SZ}-{digest}"
