"""Where text vectors are kept, so that a text is encoded once per content and encoder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from app.types import Float32Array


def content_hash(text: str) -> bytes:
    """16 bytes of BLAKE2b over the prompt text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class VectorCache(Protocol):
    def get_many(self, encoder: str, hashes: Sequence[bytes]) -> Mapping[bytes, Float32Array]: ...

    def put_many(self, encoder: str, vectors: Mapping[bytes, Float32Array]) -> None: ...


class FileVectorCache:
    """One parquet file per encoder, for runs without a database (`duoscene evaluate`).

    Written whole and renamed into place; two writers at once lose one's additions, never the file.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get_many(self, encoder: str, hashes: Sequence[bytes]) -> Mapping[bytes, Float32Array]:
        path = self._path(encoder)
        if not path.exists():
            return {}
        frame = pl.read_parquet(path).filter(pl.col("hash").is_in(list(hashes)))
        return {
            key: np.frombuffer(data, np.float16).astype(np.float32)
            for key, data in zip(frame["hash"], frame["vector"], strict=True)
        }

    def put_many(self, encoder: str, vectors: Mapping[bytes, Float32Array]) -> None:
        if not vectors:
            return
        path = self._path(encoder)
        frame = pl.DataFrame(
            {"hash": list(vectors), "vector": [v.astype(np.float16).tobytes() for v in vectors.values()]},
            schema={"hash": pl.Binary, "vector": pl.Binary},
        )
        if path.exists():
            frame = pl.concat([pl.read_parquet(path), frame]).unique("hash", keep="last")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        os.close(handle)
        frame.write_parquet(name)
        Path(name).replace(path)

    def _path(self, encoder: str) -> Path:
        return self._directory / f"{hashlib.sha256(encoder.encode()).hexdigest()[:16]}.parquet"
