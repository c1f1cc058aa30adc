"""What this process serves from: one model version, and the catalogue as it moves on beside it.

A request reads `Live.current` once and works on that; everything in it is immutable. The follower makes it newer: columns at
once (`apply`), vectors of new and rewritten items as soon as their texts are encoded (`embed`). A new model version gets a
`ServingState` of its own, is brought up to date beside the old one, and then takes its place by one assignment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from app.catalogue.item import Item, ItemChanges
from app.encoding.encoder import Encoder
from app.errors import BadArtifact
from app.features.texts import PROMPT_VERSION, item_text, scenario_text
from app.features.users import fold_users
from app.pauses import Pause, no_pause
from app.retrieval.columns import Columns
from app.retrieval.scenario_table import ScenarioTable
from app.retrieval.snapshot import Snapshot
from app.retrieval.sources import SOURCE_NAMES
from app.retrieval.space import ItemSpace
from app.scenarios.scenario import Scenario
from app.serving.catalogue_view import NOWHERE, CatalogueView
from app.types import BoolArray, Float32Array, Int64Array

EMBED_BATCH = 256  # texts encoded before they are shown; doubles while more are waiting
MAX_EMBED_BATCH = 4_096
ENCODE_CHUNK = 32  # texts between two chances for a waiting request's profile: the encoder does one call at a time
YIELD_SECONDS = 0.001
KnownVectors = Mapping[str, tuple[str, Float32Array]]  # item -> `vector_key` of its text, and the vector of that text


@dataclass(frozen=True, slots=True)
class LiveModel:
    """embedded_M: delta rows that retrieval may return; the others still wait for their vector."""

    snapshot: Snapshot
    space: ItemSpace
    embedded_M: BoolArray
    scenarios: tuple[Scenario, ...]
    table: ScenarioTable


@dataclass(frozen=True, slots=True, weakref_slot=True)
class LiveSnapshot:
    """model None: no version is live yet; the catalogue alone can still fill a slate."""

    catalogue: CatalogueView
    model: LiveModel | None = None

    @property
    def model_version(self) -> str | None:
        return self.model.snapshot.version if self.model else None

    def retrievable(self, allowed_R: BoolArray) -> BoolArray:
        """The part of a mask over the view that the model's item space has vectors for; not to be written to."""
        assert self.model
        allowed = allowed_R[: len(self.model.space)]
        if not self.model.embedded_M.all():
            allowed = allowed.copy()
            allowed[len(self.model.space.index) :] &= self.model.embedded_M
        return allowed

    def history_row(self, item_id: str) -> int | None:
        """The row whose vector stands for this item in a history (hidden ones do, too)."""
        row = self.catalogue.row(item_id)
        if row is None or self.model is None or row >= len(self.model.space):
            return None
        N = len(self.model.space.index)
        return row if row < N or self.model.embedded_M[row - N] else None

    def history_rows(self, item_ids: Iterable[str]) -> Int64Array:
        """`history_row` of each, NOWHERE where there is none."""
        row_K = np.asarray(self.catalogue.places(item_ids), np.int64)
        if self.model is None:
            return np.full(len(row_K), NOWHERE)
        N, embedded_M = len(self.model.space.index), self.model.embedded_M
        if len(self.catalogue.delta_row_of) and (row_K >= N).any():
            known_M = np.append(embedded_M, False)  # the catalogue may be ahead of the space
            row_K[(row_K >= N) & ~known_M[np.clip(row_K - N, 0, len(embedded_M))]] = NOWHERE
        return row_K

    def are_cold(self, rows: Sequence[int]) -> list[bool]:
        """Of which the live model has not seen an event."""
        if self.model is None or not rows:
            return [True] * len(rows)
        row_K, N, counts_N = np.asarray(rows), len(self.model.space.index), self.model.snapshot.item_counts_N
        if max(rows) < N:
            return (counts_N[row_K] == 0).tolist()  # type: ignore[no-any-return]
        trained_M = self.model.space.trained_M
        of_delta = np.append(trained_M, -1)  # the catalogue may be ahead of the space
        trained_K = np.where(row_K < N, row_K, of_delta[np.clip(row_K - N, 0, len(trained_M))])
        return ((trained_K < 0) | (counts_N[trained_K] == 0)).tolist()  # type: ignore[no-any-return]


@dataclass(slots=True)
class ServingState:
    """One model version (or none) and its catalogue. Changed under its lock, work in threads, the result set at once.

    pending: items whose text waits to be encoded, oldest first. vectors: those of delta rows.
    """

    encoder: Encoder
    current: LiveSnapshot
    pending: dict[str, Item] = field(default_factory=dict)
    vectors: dict[str, tuple[str, Float32Array]] = field(default_factory=dict)
    batch: int = EMBED_BATCH
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def without_model(cls, encoder: Encoder) -> ServingState:
        return cls(encoder, LiveSnapshot(CatalogueView(0, Columns.from_items([]), (), {})))

    @classmethod
    def with_model(
        cls,
        encoder: Encoder,
        snapshot: Snapshot,
        scenarios: Sequence[Scenario],
        known: KnownVectors,
        pause: Pause = no_pause,
    ) -> ServingState:
        """Blocking. known: text vectors of an earlier state, so that its delta needs no second encoding.

        Raises BadArtifact when the version was trained with another encoder or prompt than this process has.
        """
        check_encoder(snapshot, encoder)
        columns = Columns.from_frame(snapshot.items, pause)
        pause()
        view = CatalogueView(snapshot.manifest.catalogue_revision, columns, snapshot.item_ids, snapshot.row_of)
        pause()
        table = make_table(encoder, snapshot, scenarios)
        pause()
        model = LiveModel(snapshot, snapshot.space(), np.zeros(0, np.bool_), tuple(scenarios), table)
        pause()
        warm_up(model)
        return cls(encoder, LiveSnapshot(view, model), vectors=dict(known))

    async def apply(self, changes: ItemChanges) -> None:
        """Filters, availability and fields follow on return; a new item is retrieved once `embed` has seen it."""
        async with self._lock:
            view, pending = await asyncio.to_thread(self._applied, changes)
            self.current = replace(self.current, catalogue=view)
            for item_id in (*changes.removed, *(item.item_id for item in changes.items)):
                self.pending.pop(item_id, None)
            self.pending.update(pending)

    async def embed(self, *, only_known: bool = False) -> int:
        """Encode the oldest waiting texts and show their items. Returns how many still wait.

        only_known: take those whose text vector an earlier state left, which costs no encoding.
        """
        known = [(i, item) for i, item in self.pending.items() if not only_known or self._knows(item)]
        batch = dict(known if only_known else known[: self.batch])
        if batch:
            vectors = await asyncio.to_thread(self._encode, list(batch.values()))
            async with self._lock:
                still = {i: item for i, item in batch.items() if self.pending.get(i) is item}
                self.vectors.update((item_id, vectors[item_id]) for item_id in still)
                self.current = await asyncio.to_thread(self._embedded, list(still))
                for item_id in still:
                    del self.pending[item_id]
        self.batch = min(2 * self.batch, MAX_EMBED_BATCH) if self.pending else EMBED_BATCH
        if not self.pending:
            self.vectors = {i: v for i, v in self.vectors.items() if i in self.current.catalogue.delta_row_of}
        return len(self.pending)

    async def use_scenarios(self, scenarios: Sequence[Scenario]) -> None:
        async with self._lock:
            model = self.current.model
            if model is not None and model.scenarios != tuple(scenarios):
                table = await asyncio.to_thread(make_table, self.encoder, model.snapshot, scenarios)
                model = replace(model, scenarios=tuple(scenarios), table=table)
                self.current = replace(self.current, model=model)

    def _applied(self, changes: ItemChanges) -> tuple[CatalogueView, dict[str, Item]]:
        before = self.current.catalogue
        if self.current.model is None:
            return before.apply(changes), {}
        trained = {item.item_id: item for item in self._trained_items(changes.items)}
        return before.apply(changes), {
            item.item_id: item for item in changes.items if not self._has_vector(item, trained.get(item.item_id))
        }

    def _trained_items(self, changed: Sequence[Item]) -> list[Item]:
        view = self.current.catalogue
        rows = [view.trained_row_of[item.item_id] for item in changed if item.item_id in view.trained_row_of]
        return view.trained.items_at(rows)

    def _has_vector(self, item: Item, trained: Item | None) -> bool:
        """Whether the vector that stands for the item now is that of its text. A new date of publication needs a new row,
        because retrieval keeps the order of arrival beside the vectors."""
        if item.item_id in self.current.catalogue.delta_row_of or trained is None:
            return self._is_embedded(item.item_id) and self._knows(item)
        return vector_key(trained) == vector_key(item)

    def _knows(self, item: Item) -> bool:
        known = self.vectors.get(item.item_id)
        return known is not None and known[0] == vector_key(item)

    def _is_embedded(self, item_id: str) -> bool:
        model, row = self.current.model, self.current.catalogue.delta_row_of.get(item_id)
        if model is None or row is None or row >= len(model.space):
            return False
        return bool(model.embedded_M[row - len(model.space.index)])

    def _encode(self, items: Sequence[Item]) -> dict[str, tuple[str, Float32Array]]:
        known = {item.item_id: self.vectors[item.item_id] for item in items if self._knows(item)}
        todo = [item for item in items if item.item_id not in known]
        for start in range(0, len(todo), ENCODE_CHUNK):
            chunk = todo[start : start + ENCODE_CHUNK]
            vectors = self.encoder.encode([item_text(item) for item in chunk])
            known |= {item.item_id: (vector_key(item), v) for item, v in zip(chunk, vectors, strict=True)}
            time.sleep(YIELD_SECONDS)
        return known

    def _embedded(self, item_ids: Sequence[str]) -> LiveSnapshot:
        model = self.current.model
        assert model is not None
        view = self.current.catalogue.move_to_delta(item_ids)
        text_MT = np.zeros((len(view.delta_ids), model.snapshot.manifest.text_dim), np.float32)
        embedded_M, moved = np.zeros(len(view.delta_ids), np.bool_), set(item_ids)
        for place, item_id in enumerate(view.delta_ids):
            if item_id in self.vectors and (item_id in moved or self._is_embedded(item_id)):
                text_MT[place], embedded_M[place] = self.vectors[item_id][1], True
        items = {item.item_id: item for item in view.items(view.delta_ids)}
        delta = [items.get(item_id) or Item(item_id, available=False) for item_id in view.delta_ids]
        space = model.snapshot.space(delta, text_MT)
        return LiveSnapshot(view, replace(model, space=space, embedded_M=embedded_M))


class Live:
    """The one reference requests read."""

    def __init__(self, encoder: Encoder) -> None:
        self.state = ServingState.without_model(encoder)

    @property
    def current(self) -> LiveSnapshot:
        return self.state.current


def vector_key(item: Item) -> str:
    """Equal for two versions of an item that may share one row of the item space."""
    since: datetime | None = item.published_at or item.created_at
    return f"{since.isoformat() if since else ''}\n{item_text(item)}"


def make_table(encoder: Encoder, snapshot: Snapshot, scenarios: Sequence[Scenario]) -> ScenarioTable:
    """Only what training did not know is read: the encoder may not be loaded yet."""
    trained = set(snapshot.manifest.scenarios)
    new = [scenario for scenario in scenarios if scenario.name not in trained]
    return snapshot.scenarios(new, encoder.encode([scenario_text(scenario) for scenario in new]) if new else None)


def warm_up(model: LiveModel) -> None:
    """What is built at first use is built here, so that no request after a swap waits for it."""
    nobody = fold_users([[]], [0.0], np.zeros((1, model.snapshot.manifest.text_dim), np.float32), [0])
    model.snapshot.recommend(nobody, model.space, model.table, 1, weights=[dict.fromkeys(SOURCE_NAMES, 1.0)])


def check_encoder(snapshot: Snapshot, encoder: Encoder) -> None:
    manifest = snapshot.manifest
    if (manifest.encoder_name, manifest.prompt_version) != (encoder.name, PROMPT_VERSION):
        raise BadArtifact(
            f"model {manifest.version} reads texts of encoder {manifest.encoder_name!r}, prompts {manifest.prompt_version}; "
            f"this process has {encoder.name!r}, prompts {PROMPT_VERSION}: retrain, or set DUOSCENE_ENCODER"
        )
