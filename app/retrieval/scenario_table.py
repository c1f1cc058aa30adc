"""What retrieval knows of each scenario at serving: its vector, the user tower that answers in it, and its item prior.

Shapes: S scenarios, N trained items, D dim, T text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.types import Float32Array


@dataclass(frozen=True)
class ScenarioTable:
    """Row 0 is the whole shop, then the trained scenarios in manifest order, then those known by their words only.

    vectors_SD: zero where the guard chose the shared state. towers: row -> name of the separate user tower that answers there.
    boosts: row -> what is added to the cosine of each trained item, [N]. text_ST: the encoded descriptions.
    """

    row_of: Mapping[str, int]
    vectors_SD: Float32Array
    text_ST: Float32Array
    towers: Mapping[int, str] = field(default_factory=dict)
    boosts: Mapping[int, Float32Array] = field(default_factory=dict)

    def row(self, name: str | None) -> int:
        return self.row_of.get(name or "", 0)
