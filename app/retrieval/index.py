"""Nearest item vectors by inner product, exact on small catalogues, HNSW on large ones.

Shapes: B users, D dim, K results, N items.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from app.types import BoolArray, Float32Array, Int64Array

EXACT_BELOW = 50_000  # 0.13 ms a query at 10,000 x 64; HNSW pays above (0.45 ms at 100,000)
SCAN_BELOW = (
    0.05  # a mask that keeps less than this is answered by scanning what it keeps: exact, and cheaper than walking
)
SCAN_SCORES = 4_000_000  # made at once by a scan: 16 MB
STRIDE = 16  # of the sample by which `best` guesses how high the highest are
LOWEST = np.finfo(np.float32).min
HNSW_LINKS, HNSW_BUILD_WIDTH, HNSW_SEARCH_WIDTH = 32, 200, 256
RECALL_SAMPLE, RECALL_AT = 200, 100
SAME_SAMPLE = 100  # vectors by which a saved graph is known to be of these

Neighbours = tuple[Int64Array, Float32Array]  # rows [B, K] with -1 tail, scores [B, K] with -inf tail, best first


class VectorIndex:
    """Source: HNSW, Malkov & Yashunin 2018; checked against exact search when built (`recall`)."""

    def __init__(self, vectors_ND: Float32Array, exact: bool = False, graph: Path | None = None) -> None:
        """vectors_ND: unit rows float32; kept by reference (may be memory-mapped). exact: flat however many there are, for an index
        that is asked a few times: HNSW over 100,000 vectors takes minutes to build. graph: file of `save`, which is read in
        moments; one that was made of other vectors is not used. Raises RuntimeError when it cannot be read."""
        self.vectors_ND = vectors_ND
        self.kind: Literal["flat", "hnsw"] = "flat" if exact or len(vectors_ND) <= EXACT_BELOW else "hnsw"
        if self.kind == "hnsw":
            saved = faiss.read_index(str(graph)) if graph is not None else None
            self._index = saved if saved is not None and _is_of(saved, vectors_ND) else self._built()

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
            return _nothing(len(users_BD))
        if allowed_N is None:
            return self._scan(users_BD, K, None) if self.kind == "flat" else self._walk(users_BD, K, None)
        num_allowed = int(np.count_nonzero(allowed_N))
        if num_allowed <= max(K, SCAN_BELOW * len(self)):
            rows = np.flatnonzero(allowed_N)
            return best(users_BD @ self.vectors_ND[rows].T, K, rows)
        if self.kind == "flat":
            return self._scan(users_BD, K, None if num_allowed == len(self) else allowed_N)
        bits = np.packbits(allowed_N, bitorder="little")
        return self._walk(users_BD, K, faiss.IDSelectorBitmap(bits))

    def recall(self) -> float:
        """Share of the exact 100 nearest that `search` finds, over 200 item vectors taken as queries."""
        if self.kind == "flat":
            return 1.0
        queries = self.vectors_ND[np.linspace(0, len(self) - 1, RECALL_SAMPLE).astype(int)]
        found = self.search(queries, RECALL_AT)[0]
        exact = best(queries @ self.vectors_ND.T, RECALL_AT)[0]
        return float(np.mean([len(np.intersect1d(a, b)) / RECALL_AT for a, b in zip(found, exact, strict=True)]))

    def _scan(self, users_BD: Float32Array, K: int, allowed_N: BoolArray | None) -> Neighbours:
        """Every vector, in one product: for a batch faster than FAISS, and without its copy of the vectors."""
        step = max(1, SCAN_SCORES // len(self))
        found = []
        for start in range(0, len(users_BD), step):
            scores_BN = users_BD[start : start + step] @ self.vectors_ND.T
            found.append(best(scores_BN if allowed_N is None else np.where(allowed_N, scores_BN, -np.inf), K))
        rows, scores = zip(*found, strict=True) if found else ((), ())
        return (np.concatenate(rows), np.concatenate(scores)) if found else _nothing(0)

    def _walk(self, users_BD: Float32Array, K: int, selector: object | None) -> Neighbours:
        parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=max(HNSW_SEARCH_WIDTH, 2 * K))
        scores_BK, rows_BK = self._index.search(np.ascontiguousarray(users_BD), K, params=parameters)
        return rows_BK, np.where(rows_BK < 0, -np.inf, scores_BK).astype(np.float32)


def best(scores_BN: Float32Array, num_results: int, rows_N: Int64Array | None = None) -> Neighbours:
    """The highest scores of each line, ties by column. -inf and NaN are never returned. rows_N: what the columns stand for."""
    B, N = scores_BN.shape
    K = min(num_results, N)
    if K == 0:
        return _nothing(B)
    rows_BK, top_BK = np.full((B, K), -1, np.int64), np.full((B, K), -np.inf, np.float32)
    for b, scores_N in enumerate(scores_BN):
        columns = contenders(scores_N, K)
        scores = scores_N[columns]
        order = np.argsort(-scores, kind="stable")[:K]
        columns = columns[order]
        rows_BK[b, : len(order)] = columns if rows_N is None else rows_N[columns]
        top_BK[b, : len(order)] = scores[order]
    return rows_BK, top_BK


def contenders(scores_N: Float32Array | NDArray[np.float64], num: int) -> Int64Array:
    """Columns, rising, of all that may be among the num highest. The least of them is estimated from a sample, because to find it exactly
    takes several times as long as all the rest."""
    sample = scores_N[::STRIDE]
    place = len(sample) - (num + num // 4) // STRIDE - 10
    if len(scores_N) > 4 * num and place > 0:
        sample = np.fmax(sample, -np.inf)
        columns = np.flatnonzero(scores_N >= _at_least(sample, place))
        if len(columns) >= num:
            return columns
    kept = np.flatnonzero(scores_N > -np.inf)
    if len(kept) <= num:
        return kept
    return np.flatnonzero(scores_N >= _at_least(scores_N[kept], len(kept) - num))


def _at_least(scores_N: Float32Array | NDArray[np.float64], place: int) -> np.floating[Any]:
    """The score at this place, rising; above -inf."""
    return max(np.partition(scores_N, place)[place], LOWEST)


def _is_of(index: Any, vectors_ND: Float32Array) -> bool:
    """Whether a saved graph was made of these vectors, by some of them."""
    N, D = vectors_ND.shape
    if (index.ntotal, index.d) != (N, D):
        return False
    some = np.linspace(0, N - 1, SAME_SAMPLE).astype(int).tolist()
    return all(np.array_equal(index.reconstruct(row), vectors_ND[row]) for row in some)


def _nothing(num_users: int) -> Neighbours:
    return np.empty((num_users, 0), np.int64), np.empty((num_users, 0), np.float32)
