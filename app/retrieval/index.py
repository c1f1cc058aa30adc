"""Nearest item vectors by inner product. Small catalogues are scanned; larger ones in eight bits first, which is as exact (`quantised`); the
largest are walked through by FAISS. A processor without instructions for eight bits scans for many users at once in float32, and the walk
begins earlier.

Shapes: B users, D dim, K results, N items.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np

from app.processor import INT8
from app.retrieval.quantised import QuantisedVectors
from app.retrieval.selection import EVERY, STRIDE, best_of_columns, best_of_lines
from app.types import BoolArray, Float32Array, Int64Array

QUANTISED_ABOVE = 400_000 if INT8 else 1_000_000  # numbers in all vectors, where a scan in eight bits is fast
FEW = 4  # users at once for whom a scan in eight bits is faster without such instructions, too: it reads a quarter
GRAPH_ABOVE = 500_000 if INT8 else 200_000  # what a scan costs grows with the vectors, what a walk costs hardly
SCAN_BELOW = 0.05  # a mask that keeps less than this is answered by scanning what it keeps: exact, and cheaper
SCAN_SCORES = 4_000_000  # made at once by a scan: 16 MB
HNSW_LINKS, HNSW_BUILD_WIDTH, HNSW_SEARCH_WIDTH = 32, 200, 256
RECALL_SAMPLE, RECALL_AT = 200, 100
SAME_SAMPLE = 100  # vectors by which a saved graph is known to be of these

Neighbours = tuple[Int64Array, Float32Array]  # rows [B, K] with -1 tail, scores [B, K] with -inf tail, best first


class VectorIndex:
    """Source: HNSW, Malkov & Yashunin 2018; checked against exact search when built (`recall`)."""

    def __init__(self, vectors_ND: Float32Array, exact: bool = False, graph: Path | None = None) -> None:
        """vectors_ND: kept by reference (may be memory-mapped). exact: no graph however many there are, for vectors of different lengths
        and for an index that is asked a few times. graph: file of `save`, which is read in moments, where building takes minutes for
        100,000 vectors; one that was made of other vectors is not used. Raises RuntimeError when it cannot be read."""
        self.vectors_ND = vectors_ND
        self.kind: Literal["exact", "hnsw"] = "exact" if exact or len(vectors_ND) <= GRAPH_ABOVE else "hnsw"
        if self.kind == "hnsw":
            saved = faiss.read_index(str(graph)) if graph is not None else None
            self._index = saved if saved is not None and _is_of(saved, vectors_ND) else self._built()
        # Now and not at the first search, which is somebody's request. None where there is nothing to gain.
        is_quantised = self.kind == "exact" and vectors_ND.size > QUANTISED_ABOVE
        self.quantised = QuantisedVectors(vectors_ND) if is_quantised else None

    def _built(self) -> Any:
        index = faiss.IndexHNSWFlat(self.vectors_ND.shape[1], HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = HNSW_BUILD_WIDTH
        index.add(np.ascontiguousarray(self.vectors_ND))
        return index

    def save(self, path: Path) -> None:
        """Nothing for an exact index: it is made from its vectors at once."""
        if self.kind == "hnsw":
            faiss.write_index(self._index, str(path))

    def __len__(self) -> int:
        return len(self.vectors_ND)

    def search(self, users_BD: Float32Array, num_results: int, allowed_N: BoolArray | None = None) -> Neighbours:
        """Rows nearest to each user vector. allowed_N is applied before the cut, so a rare filter still fills the list."""
        K = min(num_results, len(self))
        if K == 0:
            return padded(len(users_BD), 0)
        num_allowed = len(self) if allowed_N is None else int(np.count_nonzero(allowed_N))
        if allowed_N is not None and num_allowed <= max(K, SCAN_BELOW * len(self)):
            rows = np.flatnonzero(allowed_N)
            return best(users_BD @ self.vectors_ND[rows].T, K, rows)
        searched_N = EVERY if allowed_N is None or num_allowed == len(self) else allowed_N
        if self.kind == "hnsw":
            return self._walk(users_BD, K, searched_N)
        looks = self.quantised is not None and (INT8 or len(users_BD) <= FEW)
        return self._look(users_BD, K, searched_N) if looks else self._scan(users_BD, K, searched_N)

    def recall(self) -> float:
        """Share of the exact 100 nearest that `search` finds, over 200 item vectors taken as queries."""
        if self.kind == "exact":
            return 1.0
        queries = self.vectors_ND[np.linspace(0, len(self) - 1, RECALL_SAMPLE).astype(int)]
        found = self.search(queries, RECALL_AT)[0]
        exact = best(queries @ self.vectors_ND.T, RECALL_AT)[0]
        return float(np.mean([len(np.intersect1d(a, b)) / RECALL_AT for a, b in zip(found, exact, strict=True)]))

    def _scan(self, users_BD: Float32Array, K: int, allowed_N: BoolArray) -> Neighbours:
        """Every vector, in one product: for a batch faster than FAISS, and without its copy of the vectors."""
        N, step = len(self), max(1, SCAN_SCORES // len(self))
        rows_BK, scores_BK = padded(len(users_BD), K)
        keys_N, keys_BE = (
            np.empty(N, np.int64),
            np.empty((min(step, len(users_BD)), min(4 * K + 40 * STRIDE, N)), np.int64),
        )
        for start in range(0, len(users_BD), step):
            at = slice(start, start + step)
            scores_NB = self.vectors_ND @ np.ascontiguousarray(users_BD[at].T, np.float32)
            best_of_columns(scores_NB, allowed_N, keys_N, keys_BE, rows_BK[at], scores_BK[at])
        return rows_BK, scores_BK

    def _look(self, users_BD: Float32Array, K: int, allowed_N: BoolArray) -> Neighbours:
        """In eight bits, then at the few that may be among the best; those of whom that is not sure are scanned."""
        assert self.quantised is not None
        rows_BK, scores_BK = padded(len(users_BD), K)
        unsure = self.quantised.search(np.ascontiguousarray(users_BD, np.float32), allowed_N, rows_BK, scores_BK)
        unsure = unsure[users_BD[unsure].any(1)]  # nothing is near to a vector of zeros
        if len(unsure):
            rows_BK[unsure], scores_BK[unsure] = self._scan(users_BD[unsure], K, allowed_N)
        return rows_BK, scores_BK

    def _walk(self, users_BD: Float32Array, K: int, allowed_N: BoolArray) -> Neighbours:
        bits = np.packbits(allowed_N, bitorder="little")
        selector = faiss.IDSelectorBitmap(bits) if len(allowed_N) else None
        parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=max(HNSW_SEARCH_WIDTH, 2 * K))
        scores_BK, rows_BK = self._index.search(np.ascontiguousarray(users_BD), K, params=parameters)
        return rows_BK, np.where(rows_BK < 0, -np.inf, scores_BK).astype(np.float32)


def best(scores_BN: Float32Array, num_results: int, rows_N: Int64Array | None = None) -> Neighbours:
    """The highest scores of each line, ties by column. -inf and NaN are never returned. rows_N: what the columns stand for."""
    B, N = scores_BN.shape
    rows_BK, top_BK = padded(B, min(num_results, N))
    if rows_BK.size:
        best_of_lines(np.ascontiguousarray(scores_BN, np.float32), EVERY, np.empty(N, np.int64), rows_BK, top_BK)
    if rows_N is not None and len(rows_N):
        rows_BK = np.where(rows_BK < 0, -1, rows_N[rows_BK])
    return rows_BK, top_BK


def padded(num_users: int, num: int) -> Neighbours:
    """Nothing found yet."""
    return np.full((num_users, num), -1, np.int64), np.full((num_users, num), -np.inf, np.float32)


def _is_of(index: Any, vectors_ND: Float32Array) -> bool:
    """Whether a saved graph was made of these vectors, by some of them."""
    N, D = vectors_ND.shape
    if (index.ntotal, index.d) != (N, D):
        return False
    some = np.linspace(0, N - 1, SAME_SAMPLE).astype(int).tolist()
    return all(np.array_equal(index.reconstruct(row), vectors_ND[row]) for row in some)
