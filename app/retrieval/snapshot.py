"""A snapshot: all a process needs to serve one model version, immutable. Made by learning, ranked with by evaluation and serving
alike, so that what is measured is what is served.

Shapes: N trained items, M delta items, R = N + M, S scenarios, B users, T text, D dim.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.catalogue.item import Item
from app.errors import BadArtifact
from app.features.items import ItemVocabulary
from app.features.ranking import Case, ItemFacts, Shopper, features_of
from app.features.users import UserBatch
from app.model.runner import TowerRunner
from app.pauses import Pause, no_pause
from app.retrieval.calibration import Calibration
from app.retrieval.candidates import Candidates
from app.retrieval.fusion import Fusion
from app.retrieval.index import VectorIndex
from app.retrieval.item_view import ItemView
from app.retrieval.manifest import Manifest
from app.retrieval.proposals import Proposals, excluded_of
from app.retrieval.ranker import Method, Order, SlateRanker, Unordered, weights_are_learned
from app.retrieval.scenario_table import ScenarioTable
from app.retrieval.sources import (
    FITTED,
    LEARNABLE,
    CandidateSource,
    ContentSource,
    EditorialSource,
    Fitted,
    NewSource,
    QuerySource,
    ReadsDelta,
    TrendingSource,
    TwoTowerSource,
)
from app.retrieval.space import ItemSpace
from app.retrieval.transfer import Transfer
from app.scenarios.scenario import Scenario, Weight
from app.types import BoolArray, Float32Array, Int64Array

CANDIDATES_PER_SOURCE = 200
RANKED_TOGETHER = 16  # lists at once: more take longer for each, because they leave the processor's cache
RANKER = "ranker"  # prefix of its files
GRAPH = ".faiss"  # suffix of saved search graphs


@dataclass(frozen=True)
class Snapshot:
    """vectors_ND: unit rows. item_counts_N: target events each item was trained with. scenario_text_ST: encoded descriptions in
    manifest order. prior_SN: log-ratio of an item's share in a scenario to its share in the shop, row 0 zero. fitted: what the
    sources have learned, by name. ranker_arrays: weights of the ranker, none where there is none; the rest of it is `manifest.ranker`.
    graph: file of a search graph over vectors_ND."""

    manifest: Manifest
    items: pl.DataFrame  # ITEM_SCHEMA, row order
    runner: TowerRunner
    vectors_ND: Float32Array
    item_counts_N: Int64Array
    scenario_text_ST: Float32Array
    prior_SN: Float32Array
    fitted: Mapping[str, Fitted]
    ranker_arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    graph: Path | None = None

    @property
    def version(self) -> str:
        return self.manifest.version

    @cached_property
    def item_ids(self) -> list[str]:
        return self.items["item_id"].to_list()

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    @cached_property
    def vocabulary(self) -> ItemVocabulary:
        return ItemVocabulary(**{name: tuple(values) for name, values in self.manifest.vocabulary.items()})  # type: ignore[arg-type]

    @cached_property
    def fusion(self) -> Fusion:
        return Fusion(**self.manifest.fusion)  # type: ignore[arg-type]

    @cached_property
    def transfer(self) -> Transfer:
        return Transfer(**self.manifest.transfer)  # type: ignore[arg-type]

    @cached_property
    def calibration(self) -> Calibration:
        return Calibration(**self.manifest.calibration)  # type: ignore[arg-type]

    @cached_property
    def ranker(self) -> SlateRanker:
        return SlateRanker(Fitted(self.manifest.ranker, self.ranker_arrays))

    @cached_property
    def index(self) -> VectorIndex:
        return VectorIndex(self.vectors_ND, graph=self.graph)

    def graphs(self) -> Mapping[str, VectorIndex]:
        """The indexes that are searched, by the array they stand for."""
        content = self.source("content")
        of_content = {"content.vectors": content.index} if isinstance(content, ContentSource) else {}
        return {"vectors_ND": self.index, **of_content}

    @cached_property
    def _fixed_sources(self) -> tuple[CandidateSource, ...]:
        fitted = [FITTED[name](fitted) for name, fitted in self.fitted.items()]
        queries = (QuerySource(source) for source in fitted if isinstance(source, ContentSource))
        return *fitted, TrendingSource(), NewSource(), EditorialSource(), *queries

    @property
    def learnable(self) -> tuple[str, ...]:
        """Sources that are there and whose weight can be learned; an older version has fewer."""
        there = {TwoTowerSource.name, *(source.name for source in self._fixed_sources)}
        return tuple(name for name in LEARNABLE if name in there)

    def source(self, name: str) -> CandidateSource | None:
        """One of those that need no scenario table; None where the version has none of that name."""
        return next((source for source in self._fixed_sources if source.name == name), None)

    def space(self, delta: Sequence[Item] = (), text_MT: Float32Array | None = None) -> ItemSpace:
        """Trained items plus new and changed ones. text_MT: encoded `item_text` of each delta item."""
        trained_M = np.asarray([self.row_of.get(item.item_id, -1) for item in delta], np.int64)
        if delta:
            assert text_MT is not None
            counts_M = np.where(trained_M >= 0, self.item_counts_N[trained_M], 0)
            ids_M = np.where((trained_M >= 0) & (counts_M > 0), trained_M + 1, 0)
            features = self.vocabulary.rows(delta)
            vectors_MD = self.runner.item_vectors(ids_M, text_MT, counts_M, features)
            facts = self._facts_N.joined(ItemFacts.of_items(delta, features))
        else:
            text_MT = np.zeros((0, self.manifest.text_dim), np.float32)
            vectors_MD = np.zeros((0, self.runner.dim), np.float32)
            facts = self._facts_N
        published_M = [_published(item) for item in delta]
        of_delta = {s.name: s.of_delta(delta, text_MT) for s in self._fixed_sources if isinstance(s, ReadsDelta)}
        published_R = np.concatenate([self._published_N, published_M])
        return ItemSpace(self.index, vectors_MD, trained_M, published_R, of_delta, facts)

    def scenarios(self, scenarios: Sequence[Scenario] = (), text_ST: Float32Array | None = None) -> ScenarioTable:
        """The trained scenarios and, behind them, those given here that training did not know. text_ST: `scenario_text` encoded."""
        row_of = {name: row for row, name in enumerate(self.manifest.scenarios)}
        texts, ids = [self.scenario_text_ST], list(range(len(row_of)))
        for place, scenario in enumerate(scenarios):
            if scenario.name in row_of:
                continue
            assert text_ST is not None
            row_of[scenario.name] = len(ids)
            ids.append(0)
            texts.append(text_ST[place : place + 1])
        vectors_SD = self.runner.scenario_vectors(np.asarray(ids), np.concatenate(texts))
        transfer, temperature = self.transfer, self.runner.temperature
        vectors_SD[[row for name, row in row_of.items() if transfer.of(name) == "shared"]] = 0.0
        towers = {row_of[name]: name for name in transfer.separate if name in self.runner.deltas}
        boosts = {
            row_of[name]: weight * temperature * self.prior_SN[row_of[name]]
            for name, weight in transfer.prior_weights.items()
            if weight > 0 and name in row_of
        }
        return ScenarioTable(row_of, vectors_SD, np.concatenate(texts), towers, boosts)

    def recommend(
        self,
        users: UserBatch,
        space: ItemSpace,
        table: ScenarioTable,
        num: int,
        *,
        weights: Sequence[Mapping[str, float]],
        allowed_R: BoolArray | None = None,
        excluded: Sequence[Int64Array] | None = None,
        for_ranking: bool = False,
    ) -> list[Candidates]:
        """Fused candidates of each user, best first, at most num.

        weights: per user, source -> weight as `resolve` gives them. allowed_R: rows that may be returned, applied before every source's
        cut. excluded: per user, rows not to return; sources look further to make up for them. for_ranking: with what `ordered` reads.
        """
        wanted = {name for of_user in weights for name, weight in of_user.items() if weight > 0}
        towers_2BD = TwoTowerSource(self.runner, table).both(users, space) if for_ranking else None
        user_BD = None if towers_2BD is None else towers_2BD[0]
        depth = max(num, CANDIDATES_PER_SOURCE)
        proposals = self.find(users, space, table, depth, wanted, allowed_R, excluded, user_BD)
        found = self._fused(proposals, weights, num, [moment.not_like_XT for moment in users.moments()], space)
        if towers_2BD is None:
            return found
        return [replace(one, shopper=Shopper(users, b, towers_2BD[:, b])) for b, one in enumerate(found)]

    def ordered(self, unordered: Sequence[Unordered], space: ItemSpace, table: ScenarioTable) -> list[Order]:
        """The scores of each by what validation chose for its scenario, the ranker or the fusion as it stands. Those of one scenario and
        objective go through the ranker together: most of what it takes for one slate is being asked at all."""
        orders: dict[int, Order] = {}
        together = defaultdict[Hashable, list[int]](list)
        for place, one in enumerate(unordered):
            method = self._method(one)
            if method == "ranker" and len(one.found.rows_C):
                together[one.scenario, one.objective].append(place)
            else:
                told = method if one.objective is None else f"{method}; the objective does not act"
                orders[place] = Order(one.fused_C, told)
        for places in chain.from_iterable(map(_pieces, together.values())):
            group = [unordered[place] for place in places]
            scores_X, start = self._ranked(group, space, table), 0
            for place, one in zip(places, group, strict=True):
                end = start + len(one.fused_C)
                orders[place], start = Order(scores_X[start:end], "ranker"), end
        return [orders[place] for place in range(len(unordered))]

    def _method(self, one: Unordered) -> Method:
        shopper = one.found.shopper
        if shopper is None:
            return "fusion"
        return one.by or self.ranker.method(one.scenario, one.objective, shopper.is_cold, shopper.moment)

    def _ranked(self, group: Sequence[Unordered], space: ItemSpace, table: ScenarioTable) -> Float32Array:
        """By the ranker, float32 [X]. group: of one scenario and objective."""
        scenario, objective = group[0].scenario, group[0].objective
        features_FX = self.features(group, space, table)
        price_X = None
        if objective is not None and objective.value > 0:
            assert space.facts
            price_R = space.facts.price_R
            price_X = np.concatenate([price_R[one.rows_C] if one.price_C is None else one.price_C for one in group])
        scenario_G = table.text_ST[table.row(scenario)]
        return self.ranker.scores(features_FX, scenario, scenario_G, objective, price_X)

    def features(self, unordered: Sequence[Unordered], space: ItemSpace, table: ScenarioTable) -> Float32Array:
        """float32 [F, X]: what the ranker reads of the candidates of all, one list behind the other. Each found for ranking."""
        cases = [Case(one.found, one.shopper, table.row(one.scenario), one.at_K) for one in unordered]
        return features_of(cases, self.item_view(space))

    def item_view(self, space: ItemSpace) -> ItemView:
        """Made once for a space, as long as no other one is asked about."""
        held = self._views.get("newest")
        if held is None or held.space is not space:
            held = self._views["newest"] = self._item_view(space)
        return held

    @cached_property
    def _views(self) -> dict[str, ItemView]:
        return {}

    def _item_view(self, space: ItemSpace) -> ItemView:
        popular, repeat = self.fitted.get("popular"), self.fitted.get("repeat")
        content = self.source("content")
        return ItemView(
            space.facts or self._facts_N,
            self.ranker.home,
            space,
            content if isinstance(content, ContentSource) else None,
            np.asarray(popular.arrays["popularity"], np.float32) if popular else None,
            np.asarray(repeat.arrays["interval"], np.float32) if repeat else None,
            np.asarray(self.item_counts_N, np.int64),
        )

    def ranks(self, scenario: Scenario) -> bool:
        """Whether candidates for this scenario should be found for ranking. Given weights of sources are honoured exactly: then the fusion
        by them is the order."""
        return self.ranker.runner is not None and weights_are_learned(scenario.sources)

    def _fused(
        self,
        proposals: Proposals,
        weights: Sequence[Mapping[str, float]],
        num: int,
        not_like_B: Sequence[Float32Array | None],
        space: ItemSpace,
    ) -> list[Candidates]:
        """What is not wanted, phrases [X, T] of each user, goes down before the cut."""
        query = next((source for source in self._fixed_sources if isinstance(source, QuerySource)), None)
        if query is None or all(phrases_XT is None for phrases_XT in not_like_B):
            return self.fusion.fuse_all(proposals, weights, num)
        return [
            everything.head(num)
            if phrases_XT is None
            else everything.rescored(query.unlike(phrases_XT, everything.rows_C, space)).head(num)
            for everything, phrases_XT in zip(
                self.fusion.fuse_all(proposals, weights, len(space)), not_like_B, strict=True
            )
        ]

    def resolve(
        self, scenario: str, asked: Mapping[str, Weight], *, is_cold: bool = False, has_query: bool = False,
        has_pins: bool = False,
    ) -> dict[str, float]:  # fmt: skip
        return self.fusion.resolve(scenario, asked, is_cold=is_cold, has_query=has_query, has_pins=has_pins)

    def find(
        self,
        users: UserBatch,
        space: ItemSpace,
        table: ScenarioTable,
        num: int,
        wanted: set[str],
        allowed_R: BoolArray | None = None,
        excluded: Sequence[Int64Array] | None = None,
        user_BD: Float32Array | None = None,
    ) -> Proposals:
        """What each source wanted proposes to each user, before fusion: at most num rows. user_BD: vectors of `TwoTowerSource`, where they
        are known."""
        spare = max((len(rows) for rows in excluded), default=0) if excluded else 0
        left_out = excluded_of(excluded) if excluded and spare else None
        sources = [s for s in (TwoTowerSource(self.runner, table), *self._fixed_sources) if s.name in wanted]
        proposals = Proposals.room([source.name for source in sources], len(users), min(num, len(space)), len(space))
        for source in sources:
            if isinstance(source, TwoTowerSource):
                vectors_BD = source.user_vectors(users, space) if user_BD is None else user_BD
                found = source.nearest(vectors_BD, users.scenario_B, space, num, allowed_R, excluded)
            else:
                found = source.find(users, space, num + spare, allowed_R)
            proposals.put(source.name, *found, left_out)
        return proposals

    @cached_property
    def _facts_N(self) -> ItemFacts:
        return ItemFacts.of_frame(self.items, self.vocabulary)

    @cached_property
    def _published_N(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        times = self.items.select(pl.coalesce("published_at", "created_at").dt.epoch("us") / 1e6)
        published_N: np.ndarray[tuple[int], np.dtype[np.float64]] = times.to_series().fill_null(-np.inf).to_numpy()
        return published_N

    def save(self, directory: Path, graphs: Mapping[str, VectorIndex] | None = None) -> None:
        """Into an empty directory; the manifest with the checksums comes last, so a torn write never loads. graphs: of `graphs()`, for
        whoever will load it; without them it builds its indexes itself, which takes minutes for 100,000 items."""
        directory.mkdir(parents=True, exist_ok=True)
        self.runner.save(directory)
        self.items.write_ipc(directory / "items.arrow", compression="uncompressed")
        for name in ("vectors_ND", "item_counts_N", "scenario_text_ST", "prior_SN"):
            np.save(directory / f"{name}.npy", getattr(self, name))
        for source, fitted in self.fitted.items():
            for name, array in fitted.arrays.items():
                np.save(directory / f"{source}.{name}.npy", array)
        for name, array in self.ranker_arrays.items():
            np.save(directory / f"{RANKER}.{name}.npy", array)
        for name, index in (graphs or {}).items():
            index.save(directory / f"{name}{GRAPH}")
        self.manifest.write(directory)

    @classmethod
    def load(cls, directory: Path, pause: Pause = no_pause) -> Snapshot:
        """Arrays are memory-mapped, so that processes share their pages. Raises BadArtifact."""
        manifest = Manifest.read(directory, pause)
        try:
            arrays = {path.stem: np.asarray(np.load(path, mmap_mode="r")) for path in directory.glob("*.npy")}
            pause()
            items = pl.read_ipc(directory / "items.arrow")
            pause()
            graphs = {path.stem: path for path in directory.glob(f"*{GRAPH}")}
            runner = TowerRunner.load(directory)
            pause()
            fitted = {
                source: Fitted(
                    parameters,
                    {name: arrays.pop(f"{source}.{name}") for name in _arrays_of(source, arrays)},
                    {name: graphs[f"{source}.{name}"] for name in _arrays_of(source, graphs)},
                )
                for source, parameters in manifest.sources.items()
            }
            ranker = {name: arrays.pop(f"{RANKER}.{name}") for name in _arrays_of(RANKER, arrays)}
            graph = graphs.get("vectors_ND")
            snapshot = cls(manifest, items, runner, fitted=fitted, ranker_arrays=ranker, graph=graph, **arrays)
            snapshot.graphs()  # a broken one must not wait for the first request
            pause()
            return snapshot
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, pl.exceptions.PolarsError) as error:
            raise BadArtifact(f"model {directory.name} cannot be read: {error}") from error


def _pieces(places: list[int]) -> Iterator[list[int]]:
    return (places[start : start + RANKED_TOGETHER] for start in range(0, len(places), RANKED_TOGETHER))


def _arrays_of(source: str, stems: Iterable[str]) -> list[str]:
    return [stem.removeprefix(f"{source}.") for stem in stems if stem.startswith(f"{source}.")]


def _published(item: Item) -> float:
    at = item.published_at or item.created_at
    return at.timestamp() if at else -np.inf
