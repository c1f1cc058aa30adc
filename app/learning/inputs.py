"""What the towers read: encoded texts and side features of every item, user and scenario of a training run.

Shapes: N items, U users, S scenarios, T text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from app.catalogue.records import items_of, users_of
from app.encoding.encoder import Encoder
from app.features.items import ItemFeatures, ItemVocabulary
from app.features.texts import item_text, scenario_text, user_text
from app.learning.dataset import Interactions
from app.scenarios.scenario import Scenario
from app.types import Float32Array, Progress


@dataclass(frozen=True)
class Inputs:
    """item_frame: ITEM_SCHEMA in row order. profile_UT: rows of `Interactions.user_ids`, zero without a profile."""

    item_frame: pl.DataFrame
    text_NT: Float32Array
    features: ItemFeatures
    vocabulary: ItemVocabulary
    profile_UT: Float32Array
    scenario_text_ST: Float32Array


class Described(Protocol):
    """items, users: frames of ITEM_SCHEMA and USER_SCHEMA."""

    @property
    def items(self) -> pl.DataFrame: ...

    @property
    def users(self) -> pl.DataFrame: ...


def encode_inputs(
    shop: Described,
    data: Interactions,
    encoder: Encoder,
    progress: Progress,
    scenarios: Mapping[str, Scenario] | None = None,
    vocabulary: ItemVocabulary | None = None,
) -> Inputs:
    """scenarios: descriptions of those that are configured; one known from events only is described by its name.

    vocabulary: of the model that is to be continued; none given: fitted on these items.
    """
    items = items_of(shop.items)
    vocabulary = vocabulary or ItemVocabulary.fit(items)
    profiles = {user.user_id: user_text(user) for user in users_of(shop.users)}
    described = [(scenarios or {}).get(name) or Scenario(name=name, description="") for name in data.scenarios]
    return Inputs(
        item_frame=shop.items,
        text_NT=encoder.encode([item_text(item) for item in items], progress),
        features=vocabulary.rows(items),
        vocabulary=vocabulary,
        profile_UT=encoder.encode([profiles.get(user_id, "") for user_id in data.user_ids]),
        scenario_text_ST=encoder.encode([scenario_text(scenario) for scenario in described]),
    )
