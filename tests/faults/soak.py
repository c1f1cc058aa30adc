"""What `scripts/soak` runs: a service under half its peak load for minutes, and whether anything in it grows.

The peak is measured first: as many calls as clients in one process get answered while each sends its next call at once. Then
the same mix goes out at half that rate: slates, lists that go on, pages, ranked lists, feedback and its retraction, of shoppers
who come back. Looked at every few seconds: memory and open files of API and worker, connections to the stores, keys in Redis.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import redis
from rich.table import Table

from app.benchmarks.proc import memory
from app.benchmarks.report import surroundings
from app.console import console
from tests.faults.shop import prepare
from tests.faults.site import ADMIN_KEY, REPOSITORY, Site, open_site

NUM_CLIENTS = 24
MAX_SHOPPERS = 5_000
VISITS = 20  # of a shopper in the first third of a run, so that all are known by its end
PEAK_SECONDS = 20.0
SAMPLES = 60  # of a run
LISTS = b":l:"
ITEMS = [
    f"{kind}-{thing}-{n}" for kind in ("fish", "cook") for thing in ("rod", "pan", "reel", "pot") for n in range(4)
]
RESULTS = REPOSITORY / "tests" / "bench" / "results" / "soak.json"
# figure -> what it may grow by from the second to the last third of a run: a share, and a constant in its unit. Sockets come and go with
# the load, within the clients' and the pools' own bounds.
ALLOWED = {
    "api_own_mib": (0.03, 8.0), "worker_own_mib": (0.03, 8.0), "api_files": (0.0, 4.0), "worker_files": (0.0, 4.0),
    "api_sockets": (0.0, 24.0), "postgres_connections": (0.0, 8.0), "redis_connections": (0.0, 8.0), "redis_keys": (0.05, 50.0),
}  # fmt: skip


@dataclass
class Traffic:
    """answered: calls by name and status. milliseconds: of slates."""

    http: httpx.AsyncClient
    draw: random.Random
    shoppers: int = 100
    answered: Counter[str] = field(default_factory=Counter)
    num: int = 0
    event: int = 0

    async def one(self) -> None:
        """One call of the mix."""
        user = f"soak-{self.draw.randrange(self.shoppers)}"
        kinds: list[tuple[float, Callable[[str], Awaitable[None]]]] = [
            (0.50, self.slate), (0.33, self.feedback), (0.05, self.list_that_goes_on), (0.05, self.page), (0.05, self.ranked),
            (0.02, self.retracted),
        ]  # fmt: skip
        shares = [share for share, _ in kinds]
        await self.draw.choices([kind for _, kind in kinds], shares)[0](user)

    async def post(self, name: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self.http.post(path, json=body)
        except httpx.HTTPError as error:
            self.answered[f"{name} {type(error).__name__}"] += 1
            return {}
        self.answered[f"{name} {answer.status_code}"] += 1
        self.num += 1
        found: dict[str, Any] = answer.json() if answer.is_success else {}
        return found

    async def slate(self, user: str) -> None:
        await self.post("slate", "/v1/recommendations", {"scenario": "home", "user_id": user, "n": 10})

    async def feedback(self, user: str) -> None:
        await self.post("feedback", "/v1/feedback", {"events": [self.click(user) for _ in range(3)]})

    async def list_that_goes_on(self, user: str) -> None:
        found = await self.post("slate", "/v1/recommendations", {"scenario": "home", "user_id": user, "n": 5})
        if cursor := found.get("next_cursor"):
            await self.post("next", "/v1/recommendations/next", {"cursor": cursor})

    async def page(self, user: str) -> None:
        slates = [{"name": name, "scenario": name, "n": 5} for name in ("home", "new_arrivals")]
        await self.post("page", "/v1/pages", {"user_id": user, "slates": slates})

    async def ranked(self, user: str) -> None:
        await self.post(
            "rank", "/v1/rank", {"scenario": "search", "user_id": user, "item_ids": self.draw.sample(ITEMS, 12)}
        )

    async def retracted(self, user: str) -> None:
        event = self.click(user)
        await self.post("feedback", "/v1/feedback", event)
        answer = await self.http.delete(f"/v1/feedback/{event['event_id']}")
        self.answered[f"retract {answer.status_code}"] += 1
        self.num += 1

    def click(self, user: str) -> dict[str, Any]:
        self.event += 1
        return {"type": "click", "user_id": user, "item_id": self.draw.choice(ITEMS), "event_id": f"soak-{self.event}"}


async def peak(traffic: Traffic, seconds: float) -> float:
    """Calls answered in a second while NUM_CLIENTS send without a pause."""
    until = time.monotonic() + seconds
    before = traffic.num

    async def client() -> None:
        while time.monotonic() < until:
            await traffic.one()

    await asyncio.gather(*(client() for _ in range(NUM_CLIENTS)))
    return (traffic.num - before) / seconds


async def steady(traffic: Traffic, rate: float, over: asyncio.Event) -> None:
    """rate: kinds of calls begun in a second. Not more than NUM_CLIENTS at once: who cannot keep up is late, not many."""
    room = asyncio.Semaphore(NUM_CLIENTS)
    under_way: set[asyncio.Task[None]] = set()

    async def one() -> None:
        async with room:
            await traffic.one()

    begun, begin = 0, time.monotonic()
    while not over.is_set():
        due = int((time.monotonic() - begin) * rate)
        while begun < due and len(under_way) < NUM_CLIENTS * 4:
            task = asyncio.create_task(one())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            begun += 1
        begun = max(begun, due - NUM_CLIENTS)
        await asyncio.sleep(0.01)
    await asyncio.gather(*under_way)


def look(site: Site, connections: int) -> dict[str, float]:
    """connections: of the service to PostgreSQL."""
    api = [process.pid for process in site.api if process is not None]
    assert site.worker is not None
    with redis.Redis.from_url(site.redis_url) as client:
        keys = client.dbsize()
        lists = sum(1 for _ in client.scan_iter(match=b"*" + LISTS + b"*", count=5_000))
        clients, used = len(client.client_list()), client.info("memory")["used_memory"]
    return {
        "api_rss_mib": sum(memory(pid).rss for pid in api),
        "api_own_mib": sum(memory(pid).own for pid in api),
        "worker_rss_mib": memory(site.worker.pid).rss,
        "worker_own_mib": memory(site.worker.pid).own,
        "api_files": sum(open_files(pid)[0] for pid in api),
        "api_sockets": sum(open_files(pid)[1] for pid in api),
        "worker_files": sum(open_files(site.worker.pid)),
        "postgres_connections": connections,
        "redis_connections": clients,
        "redis_keys": keys - lists,
        "redis_lists": lists,
        "redis_mib": used / 2**20,
    }


def open_files(pid: int) -> tuple[int, int]:
    """Files, and sockets."""
    targets = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(str(link.readlink()))
    sockets = sum(target.startswith("socket:") for target in targets)
    return len(targets) - sockets, sockets


async def sample(site: Site, database: asyncpg.Connection[Any]) -> dict[str, float]:
    count = await database.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'duoscene'")
    return await asyncio.to_thread(look, site, count)


def growth(samples: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """The mean of the last third beside that of the second: the first is warm-up. Lists of slates live for half an hour and are shown only."""
    third = len(samples) // 3
    found: dict[str, dict[str, Any]] = {}
    for name, (share, constant) in ALLOWED.items():
        middle = sum(one[name] for one in samples[third : 2 * third]) / third
        last = sum(one[name] for one in samples[-third:]) / third
        found[name] = {
            "middle": round(middle, 2),
            "last": round(last, 2),
            "flat": last <= middle * (1 + share) + constant,
        }
    return found


async def run(site: Site, minutes: float, seed: int) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=NUM_CLIENTS * 2)
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    database = await asyncpg.connect(site.database_url)
    try:
        async with httpx.AsyncClient(
            base_url=site.url, headers=headers, timeout=60, trust_env=False, limits=limits
        ) as http:
            traffic = Traffic(http, random.Random(seed))
            most = await peak(traffic, PEAK_SECONDS)
            console.print(f"peak {most:.0f} calls/s; {most / 2:.0f} calls/s for {minutes:g} minutes")
            traffic.answered.clear()
            traffic.shoppers = max(10, min(MAX_SHOPPERS, int(most / 2 * minutes * 60 / 3 / VISITS)))
            traffic.num, begin = 0, time.monotonic()
            over = asyncio.Event()
            load = asyncio.create_task(steady(traffic, most / 2, over))
            samples: list[dict[str, float]] = []
            shown_at = -1
            pause = max(minutes * 60 / SAMPLES, 1.0)
            while (elapsed := time.monotonic() - begin) < minutes * 60:
                samples.append({"second": round(elapsed), **await sample(site, database)})
                if int(elapsed // 60) > shown_at:
                    shown_at = int(elapsed // 60)
                    show(samples[-1])
                await asyncio.sleep(pause)
            samples.append({"second": round(time.monotonic() - begin), **await sample(site, database)})
            show(samples[-1])
            rate = traffic.num / (time.monotonic() - begin)
            over.set()
            await load
    finally:
        await database.close()
    verdict = growth(samples)
    bad = {name: n for name, n in traffic.answered.items() if name.rpartition(" ")[2] not in ("200", "202", "204")}
    return {
        "peak_per_second": round(most, 1), "rate_per_second": round(rate, 1), "minutes": minutes, "seed": seed, "shoppers": traffic.shoppers,
        "answers": dict(sorted(traffic.answered.items())), "other_answers": bad, "growth": verdict,
        "flat": all(one["flat"] for one in verdict.values()), "samples": samples,
    }  # fmt: skip


def show(one: dict[str, float]) -> None:
    console.print("  ".join(f"{name} {value:.0f}" for name, value in one.items()), soft_wrap=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--api", type=int, default=1, help="API processes behind one socket")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    with open_site(Path(tempfile.mkdtemp(prefix="duoscene-soak-")), options.api, DUOSCENE_LOG_LEVEL="WARNING") as site:
        prepare(site.database_url, site.folder)
        for place in range(site.num_api):
            site.start_api(place)
        site.start_worker()
        site.wait_ready()
        found = asyncio.run(run(site, options.minutes, options.seed))
    command = f"scripts/soak --minutes {options.minutes:g} --api {options.api} --seed {options.seed}"
    options.json.write_text(json.dumps(surroundings() | {"command": command} | found, indent=2) + "\n")
    table = Table("figure", "second third", "last third", "")
    for name, one in found["growth"].items():
        table.add_row(name, str(one["middle"]), str(one["last"]), "flat" if one["flat"] else "GROWS")
    console.print(table)
    console.print(f"{found['rate_per_second']:.0f} calls/s, answers {found['answers']}")
    console.print("Flat." if found["flat"] else "NOT FLAT.", f"Written to {options.json}.", markup=False)
    return 0 if found["flat"] and not found["other_answers"] else 1


if __name__ == "__main__":
    sys.exit(main())
