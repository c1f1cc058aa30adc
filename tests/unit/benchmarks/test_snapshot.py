"""The untrained model's shortcut gives what content's own fit gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from app.benchmarks.snapshot import content_of
from app.learning.inputs import Inputs
from app.learning.sources import DEFAULTS, content
from app.types import Float32Array


@dataclass
class Texts:
    text_NT: Float32Array


def test_content_in_pieces_is_content_at_once() -> None:
    text_NT = np.random.default_rng(1).standard_normal((300, 40)).astype(np.float32)
    inputs = cast(Inputs, Texts(text_NT))
    ours, theirs = content_of(inputs), content.fit(cast(Any, None), inputs, DEFAULTS["content"])
    assert ours.parameters == theirs.parameters
    for name, array in theirs.arrays.items():
        np.testing.assert_allclose(ours.arrays[name], array, atol=1e-5)
