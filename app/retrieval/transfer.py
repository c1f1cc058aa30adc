"""What the guard against negative transfer chose for each scenario; kept in the manifest, applied by the snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.types import Json

Option = Literal["shared", "adapter", "separate"]
OPTIONS: tuple[Option, ...] = ("shared", "adapter", "separate")


@dataclass(frozen=True, slots=True)
class Transfer:
    """choices: scenario -> how its user vectors are made. "shared": as in the whole shop, the scenario is not looked at; "adapter":
    by the scenario's vector; "separate": by a user tower of its own. default: where nothing was chosen, words-only ones included.

    prior_weights: scenario -> strength of its item prior, in units of the towers' logits; none: 0.
    report: per scenario the users, NDCG@10 of every option and the gains over the shared one, for people.
    """

    choices: Mapping[str, Option] = field(default_factory=dict)
    default: Option = "adapter"
    prior_weights: Mapping[str, float] = field(default_factory=dict)
    report: Mapping[str, Json] = field(default_factory=dict)

    def of(self, scenario: str) -> Option:
        return self.choices.get(scenario, self.default)

    @property
    def separate(self) -> tuple[str, ...]:
        """Scenarios that are answered by a tower of their own."""
        return tuple(name for name, choice in self.choices.items() if choice == "separate")
