"""A complete model of a synthetic shop without a training: towers and ranker as they are initialised, every source fitted.

What serving costs depends on shapes and sparsity, which are real here, and not on how good the vectors are. Text vectors are those of
the topic, moved a little for each item. Shapes: N items, K topics, T text, F features.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import torch

from app.benchmarks.shop import topic_texts
from app.catalogue.records import items_of
from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.features.items import ItemVocabulary
from app.features.ranking import FEATURES
from app.features.texts import scenario_text
from app.learning.assembly import assemble
from app.learning.dataset import Interactions, interactions
from app.learning.fit_config import Choices, FitConfig
from app.learning.inputs import Inputs, TextRows
from app.learning.sources import DEFAULTS, FITTERS, content
from app.learning.training import tower_config
from app.model.ranker import RankerConfig, RankerNet
from app.model.runner import TowerRunner
from app.model.towers import Towers
from app.retrieval.snapshot import Snapshot
from app.retrieval.sources import Fitted
from app.retrieval.sources.content import project
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import Scenario
from app.types import Float32Array, Json

SEED = 1
CONTENT = "content"
SAMPLE = 50_000  # items
NOISE = 0.5  # length of what an item's text vector has of its own, against the topic's 1
EVERYWHERE: dict[str, Json] = {"order": "ranker", "objective": "ranker"}


def untrained(shop: ShopData, encoder: Encoder, catalogue_revision: int) -> Snapshot:
    """Takes about 10 s for 10,000 items and 100,000 events."""
    data = interactions(shop)
    inputs = _inputs(shop.items, data, encoder)
    torch.manual_seed(SEED)
    towers = Towers(tower_config(data, inputs))
    config = FitConfig(encoder_key=encoder.key, encoder_name=encoder.name, catalogue_revision=catalogue_revision)
    fitted = {name: fitter.fit(data, inputs, DEFAULTS[name]) for name, fitter in FITTERS.items() if name != CONTENT}
    fitted[CONTENT] = content_of(inputs)
    return with_ranker(assemble(data, inputs, config, Choices(0), TowerRunner(towers), fitted, {}))


def content_of(inputs: Inputs) -> Fitted:
    """As content's own fit, but with the directions of a sample and in pieces: a million texts are 1.5 GB, which that copies thrice."""
    parameters, text_NT = DEFAULTS[CONTENT], inputs.text_NT
    sample = np.linspace(0, len(text_NT) - 1, min(len(text_NT), SAMPLE)).astype(np.int64)
    mean_T, projection_TP = content.principal_directions(text_NT[sample], Fitted(parameters).number("whitening"))
    vectors_NP = np.empty((len(text_NT), projection_TP.shape[1]), np.float32)
    for start in range(0, len(text_NT), SAMPLE):
        vectors_NP[start : start + SAMPLE] = project(text_NT[start : start + SAMPLE], mean_T, projection_TP)
    return Fitted(parameters, {"vectors": vectors_NP, "mean": mean_T, "projection": projection_TP})


def with_ranker(snapshot: Snapshot) -> Snapshot:
    """Ordered by a ranker of random weights in every scenario."""
    F = len(FEATURES)
    net = RankerNet(RankerConfig(F, snapshot.manifest.text_dim), np.zeros(F, np.float32), np.ones(F, np.float32))
    with torch.no_grad():
        net.out.normal_(0.0, 0.1)
        net.wide.weight.normal_(0.0, 0.1)
    held: dict[str, Json] = {
        "features": list(FEATURES), "choices": {"": EVERYWHERE, "without history": EVERYWHERE}, "median_price": 25.0,
    }  # fmt: skip
    return replace(snapshot, manifest=replace(snapshot.manifest, ranker=held), ranker_arrays=net.arrays())


def _inputs(frame: pl.DataFrame, data: Interactions, encoder: Encoder) -> Inputs:
    items = items_of(frame)
    vocabulary = ItemVocabulary.fit(items)
    described = [READY_MADE.get(name) or Scenario(name=name, description="") for name in data.scenarios]
    return Inputs(
        item_frame=frame,
        text_NT=_text_vectors(len(frame), encoder),
        features=vocabulary.rows(items),
        vocabulary=vocabulary,
        profile_UT=TextRows.encoded(("" for _ in data.user_ids), encoder),
        scenario_text_ST=encoder.encode([scenario_text(scenario) for scenario in described]),
        query_QT=encoder.encode([]),
    )


def _text_vectors(num_items: int, encoder: Encoder) -> Float32Array:
    topic_KT = encoder.encode(topic_texts())
    T = topic_KT.shape[1]
    draw = np.random.default_rng(SEED)
    text_NT = draw.standard_normal((num_items, T), np.float32)
    text_NT *= np.float32(NOISE / T**0.5)
    text_NT += topic_KT[np.arange(num_items) % len(topic_KT)]
    text_NT /= np.linalg.norm(text_NT, axis=1, keepdims=True)
    return text_NT
