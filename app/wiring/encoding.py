"""The encoder with its cache in the database, and the place of the model artifacts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from app.encoding.encoder import Encoder
from app.errors import Unavailable
from app.release.version import ArtifactStore
from app.retrieval.manifest import check_artifact
from app.settings import Settings
from app.stores.artifacts import open_artifacts
from app.stores.postgres.text_vectors import PostgresTextVectors
from app.types import Float32Array
from app.wiring.stores import Stores

T = TypeVar("T")


class TextVectorCache:
    """The encoder is synchronous and runs in threads; the vectors are kept by an asynchronous store. This lets one ask the other.

    A cache may fail: what it cannot give is encoded again.
    """

    def __init__(self, store: PostgresTextVectors, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop

    def get_many(self, encoder: str, hashes: Sequence[bytes]) -> Mapping[bytes, Float32Array]:
        try:
            return self._wait(self._store.get_many(encoder, hashes))
        except Unavailable:
            return {}

    def put_many(self, encoder: str, vectors: Mapping[bytes, Float32Array]) -> None:
        with contextlib.suppress(Unavailable):
            self._wait(self._store.put_many(encoder, vectors))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def open_encoder(settings: Settings, stores: Stores) -> Encoder:
    """To be used from threads, never from the event loop itself."""
    cache = TextVectorCache(stores.text_vectors, asyncio.get_running_loop())
    return Encoder(settings.encoder, settings.encoder_dtype, cache)


def artifacts_of(settings: Settings) -> ArtifactStore:
    return open_artifacts(settings.models_url(), settings.data_dir.resolve() / "models-cache")


def check_of(artifacts: ArtifactStore) -> Callable[[str], None]:
    """For `CheckedVersions`."""
    return lambda version: check_artifact(artifacts.fetch(version), version)
