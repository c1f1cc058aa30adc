"""Sizes and habits of the towers. Saved in the manifest, so that an artifact can be built up again exactly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TowerConfig:
    """num_*: rows of the tables, row 0 (unknown) included. text_dim: T of the encoder."""

    num_items: int
    num_categories: int
    num_departments: int
    num_brands: int
    num_prices: int
    num_scenarios: int
    text_dim: int
    dim: int = 64
    hidden: int = 128
    heads: int = 2
    blocks: int = 1  # 0: only the decayed means speak of the history
    length: int = 100  # newest events the user tower attends to
    has_id: bool = True  # these three switch parts off, for ablations
    has_text: bool = True
    has_gate: bool = True
    dropout: float = 0.2
    id_dropout: float = 0.1  # DropoutNet, Volkovs et al. 2017: makes "a new item" a state that was trained for
    scenario_dropout: float = 0.1  # likewise "a new scenario": its words are all there is
    scenario_adapter: bool = True  # False: the scenario is a plain feature of the user tower
    scenario_rank: int = 8  # of the adapter's residual
    scenario_left_out: float = 0.15  # share of training windows read as "the whole shop", the state without a scenario
    # Weight of an event against the next newer one: what is on now, and the long taste.
    decays: tuple[float, ...] = (0.8, 0.98)
