"""Row on queries in natural language: a new one beside the encoder alone, a repeated one beside none."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import httpx
import numpy as np
import torch

from app.benchmarks.bench import Bench
from app.benchmarks.cores import pinned_to
from app.benchmarks.report import Bound, Row
from app.benchmarks.slates import PATH, SLATE, json_headers
from app.encoding.encoder import Encoder
from app.errors import DuosceneError

WHO = (
    "my father",
    "a friend",
    "a child of six",
    "somebody who moves house",
    "a colleague",
    "my neighbour",
    "grandmother",
)
LIKES = (
    "long walks",
    "cooking on Sundays",
    "quiet evenings",
    "growing vegetables",
    "early mornings",
    "old books",
    "the sea",
)
WHEN = ("in winter", "before the holidays", "on rainy days", "for a birthday", "this summer")
PER_SECOND = 10  # queries of each kind for a second of the plan


def query_row(bench: Bench) -> Iterator[Row]:
    site = bench.site()
    num = min(len(WHO) * len(LIKES) * len(WHEN), max(20, int(PER_SECOND * bench.plan.seconds)))
    texts = [
        f"something for {who} who likes {likes} {when}" for who, likes, when in itertools.product(WHO, LIKES, WHEN)
    ]
    texts = [texts[place] for place in np.linspace(0, len(texts) - 1, num).astype(int)]
    service, headers = bench.service(site), json_headers(site)
    bench.progress("queries", 0.0)
    with (
        pinned_to(bench.cores.load),
        httpx.Client(base_url=service.url, headers=headers, trust_env=False, timeout=60) as client,
    ):

        def ask(n: int, query: str | None) -> None:
            body = {"scenario": "search", "user_id": site.users[n % len(site.users)], "n": SLATE}
            answer = client.post(PATH, json=body if query is None else {**body, "query": query})
            if answer.status_code != 200 or not answer.json()["items"]:
                raise DuosceneError(f"{query!r}: {answer.status_code} {answer.text[:300]}")

        ask(0, "warm up")
        without = times([lambda n=n: ask(n, None) for n in range(num)])  # type: ignore[misc]
        new = times([lambda n=n, text=text: ask(n, text) for n, text in enumerate(texts)])  # type: ignore[misc]
        again = times([lambda n=n, text=text: ask(n, text) for n, text in enumerate(texts)])  # type: ignore[misc]
    alone = encoder_times(texts, bench.cores.api[0])
    yield Row(
        "query", f"{num} different queries in natural language, one after the other; then all of them again",
        "the encoder alone with the same texts, one thread on the core of the API",
        {
            "new_ms": round(new, 3), "encoder_ms": round(alone, 3), "ratio_of_times": round(new / alone, 4),
            "without_query_ms": round(without, 3), "repeated_ms": round(again, 3),
            "repeated_extra_ms": round(again - without, 3),
        },
        (Bound("ratio_of_times", most=1.3), Bound("repeated_extra_ms", most=1.0)),
        note="medians",
    )  # fmt: skip


def encoder_times(texts: Sequence[str], core: int) -> float:
    encoder = Encoder()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pinned_to(core):
            encoder.encode(["warm up"])
            return times([lambda text=text: encoder.encode([text]) for text in texts])  # type: ignore[misc]
    finally:
        torch.set_num_threads(before)


def times(work: Sequence[Callable[[], object]]) -> float:
    """Median, ms."""
    taken = []
    for one in work:
        begin = time.perf_counter()
        one()
        taken.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(taken))
