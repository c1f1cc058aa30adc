"""What the towers read: encoded texts and side features of every item, user and scenario of a training run.

Shapes: N items, U users, S scenarios, Q queries, T text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.catalogue.records import items_of, users_of
from app.encoding.encoder import Encoder
from app.features.items import ItemFeatures, ItemVocabulary
from app.features.texts import item_text, scenario_text, user_text
from app.learning.dataset import Interactions
from app.scenarios.scenario import Scenario
from app.types import BoolArray, Float32Array, Int32Array, Progress

SLICE = 20_000  # users that are objects at a time


@dataclass(frozen=True)
class TextRows:
    """A [R, T] matrix whose rows repeat, each different one held once: half a million users without a profile cost 2 MB."""

    different_DT: Float32Array
    place_R: Int32Array

    @classmethod
    def encoded(cls, texts: Iterable[str], encoder: Encoder) -> TextRows:
        place_of: dict[str, int] = {}
        place_R = np.fromiter((place_of.setdefault(text, len(place_of)) for text in texts), np.int32)
        return cls(encoder.encode(list(place_of)), place_R)

    def __len__(self) -> int:
        return len(self.place_R)

    def __getitem__(self, rows: NDArray[np.integer] | Sequence[int]) -> Float32Array:
        taken: Float32Array = self.different_DT[self.place_R[rows]]
        return taken

    @property
    def says_something_R(self) -> BoolArray:
        said_D: BoolArray = np.any(self.different_DT, axis=1)
        return said_D[self.place_R]


@dataclass(frozen=True)
class Inputs:
    """item_frame: ITEM_SCHEMA in row order. profile_UT: rows of `Interactions.user_ids`, zero without a profile. query_QT: rows of
    `Interactions.queries`; empty where they were not asked for."""

    item_frame: pl.DataFrame
    text_NT: Float32Array
    features: ItemFeatures
    vocabulary: ItemVocabulary
    profile_UT: TextRows
    scenario_text_ST: Float32Array
    query_QT: Float32Array


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
    with_queries: bool = False,
) -> Inputs:
    """scenarios: descriptions of those that are configured; one known from events only is described by its name.

    vocabulary: of the model that is to be continued; none given: fitted on these items. with_queries: for a training with a loss of
    the queries, which may be many.
    """
    items = items_of(shop.items)
    vocabulary = vocabulary or ItemVocabulary.fit(items)
    profiles = {user.user_id: user_text(user) for part in shop.users.iter_slices(SLICE) for user in users_of(part)}
    configured = scenarios or {}
    described = [configured.get(name) or Scenario(name=name, description="") for name in data.scenarios]
    unseen = [scenario for name, scenario in configured.items() if name not in data.scenarios]
    encoder.encode([scenario_text(scenario) for scenario in unseen])  # into its cache: who serves needs them at once
    return Inputs(
        item_frame=shop.items,
        text_NT=encoder.encode([item_text(item) for item in items], progress),
        features=vocabulary.rows(items),
        vocabulary=vocabulary,
        profile_UT=TextRows.encoded((profiles.get(user_id, "") for user_id in data.user_ids), encoder),
        scenario_text_ST=encoder.encode([scenario_text(scenario) for scenario in described]),
        query_QT=encoder.encode(list(data.queries) if with_queries else []),
    )
