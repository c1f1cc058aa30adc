"""20 clients post numbered events and read slates while PostgreSQL, Redis, API and worker are killed, frozen and restarted at random.

At the end: every acknowledged event is in PostgreSQL exactly once, the live state equals a rebuild, and no slate was an error,
empty or of mixed versions. `tests/faults/test_faults.py` runs it shortly, `scripts/faults` for minutes.

A connection that breaks because the process that held it was killed is neither an answer nor a loss: it is counted as `cut`, and
the client sends the same event ids again.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx

from app.stores.postgres.engine import create_engine
from app.stores.postgres.events import PostgresEvents
from app.stores.postgres.revisions import PostgresRevisions
from app.stores.postgres.subjects import PostgresSubjects
from app.stores.redis.bridge import RedisBridge
from app.stores.redis.consistency import Comparison, compare
from app.stores.redis.live_state import RedisLiveState
from tests.faults.shop import VERSIONS
from tests.faults.site import ADMIN_KEY, Site

NUM_CLIENTS = 20
NUM_SHOPPERS = 60
TRIES = 4
PROBE = {"scenario": "by_taste", "user": {"text": "I like fishing on rivers and at sea."}, "n": 10}
CALM_SECONDS = 120.0
CALM_SHARE = 0.2
ALLOWED = (200, 429, 503)


@dataclass
class Counts:
    """acknowledged: event ids with a 202. sent: every id that was ever sent. slates, posts: by status, "cut" among them."""

    acknowledged: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    slates: Counter[str] = field(default_factory=Counter)
    posts: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    faulty: list[str] = field(default_factory=list)  # what must never be
    probes: int = 0
    unread: int = 0  # an own purchase was shown again
    slowest_ms: float = 0.0


class Shoppers:
    """The clients. reference: version -> the slate that it must give for PROBE."""

    def __init__(self, site: Site, counts: Counts, reference: dict[str, list[tuple[str, float]]], seed: int) -> None:
        self._site = site
        self._counts = counts
        self._reference = reference
        self._seed = seed
        self._over = asyncio.Event()

    async def run(self, seconds: float, end_of_faults: Callable[[], None]) -> None:
        """After the last fault the shoppers go on for CALM_SHARE of the time, so that there are states to compare."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        limits = httpx.Limits(max_connections=NUM_CLIENTS * 2)
        async with httpx.AsyncClient(
            base_url=self._site.url, headers=headers, timeout=60, trust_env=False, limits=limits
        ) as http:
            clients = [asyncio.create_task(self._client(http, number)) for number in range(NUM_CLIENTS)]
            await asyncio.sleep(seconds * (1 - CALM_SHARE))
            await asyncio.to_thread(end_of_faults)
            await asyncio.sleep(seconds * CALM_SHARE)
            self._over.set()
            await asyncio.gather(*clients)

    async def _client(self, http: httpx.AsyncClient, number: int) -> None:
        draw = random.Random(self._seed * 1000 + number)
        turn = 0
        while not self._over.is_set():
            turn += 1
            user = f"shopper-{draw.randrange(NUM_SHOPPERS)}-{number}"
            bought = f"{draw.choice(('fish', 'cook'))}-{draw.choice(('rod', 'pan', 'reel', 'pot'))}-{draw.randrange(4)}"
            events = [
                {
                    "type": kind,
                    "user_id": user,
                    "item_id": bought,
                    "event_id": f"c{number}-{turn}-{place}",
                    "scenario": "home",
                }
                for place, kind in enumerate(("purchase", "click", "view")[: draw.randint(1, 3)])
            ]
            is_stored = await self._post(http, events)
            await self._slate(http, user, bought if is_stored else None)
            if draw.random() < 0.2:
                await self._probe(http)
            await asyncio.sleep(draw.uniform(0, 0.2))

    async def _post(self, http: httpx.AsyncClient, events: list[dict[str, Any]]) -> bool:
        """As a careful sender: the same ids again until they are acknowledged, TRIES times."""
        self._counts.sent.update(event["event_id"] for event in events)
        for _ in range(TRIES):
            answer = await self._ask(http, "/v1/feedback", {"events": events}, self._counts.posts)
            if answer is not None and answer.status_code == 202:
                body = answer.json()
                if body["rejected"] or body["accepted"] + body["duplicates"] != len(events):
                    self._counts.faulty.append(f"202 with {body}")
                self._counts.acknowledged.update(body["event_ids"])
                return True
            await asyncio.sleep(0.2)
        return False

    async def _slate(self, http: httpx.AsyncClient, user: str, bought: str | None) -> None:
        begin = time.perf_counter()
        body = {"scenario": "home", "user_id": user, "n": 10}
        answer = await self._ask(http, "/v1/recommendations", body, self._counts.slates)
        if answer is None or answer.status_code != 200:
            return
        self._counts.slowest_ms = max(self._counts.slowest_ms, (time.perf_counter() - begin) * 1e3)
        slate = answer.json()
        self._counts.versions[slate["model_version"]] += 1
        self._counts.degraded.update(slate["degraded"])
        if len(slate["items"]) < 10 or slate["model_version"] not in VERSIONS:
            self._counts.faulty.append(f"a slate of {len(slate['items'])} items of version {slate['model_version']}")
        if bought in {item["item_id"] for item in slate["items"]} and "user_state" not in slate["degraded"]:
            self._counts.unread += 1

    async def _probe(self, http: httpx.AsyncClient) -> None:
        """A slate that no shopper's past has a part in must be exactly that of the version it names."""
        answer = await self._ask(http, "/v1/recommendations", PROBE, self._counts.slates)
        if answer is None or answer.status_code != 200:
            return
        slate = answer.json()
        self._counts.probes += 1
        if not is_like(slate_of(slate), self._reference.get(slate["model_version"])):
            self._counts.faulty.append(f"mixed versions: {slate['model_version']} gave {slate_of(slate)}")

    async def _ask(
        self, http: httpx.AsyncClient, path: str, body: dict[str, Any], statuses: Counter[str]
    ) -> httpx.Response | None:
        try:
            answer = await http.post(path, json=body)
        except httpx.TransportError:
            statuses["cut"] += 1
            return None
        statuses[str(answer.status_code)] += 1
        is_known = answer.status_code in ALLOWED or (path == "/v1/feedback" and answer.status_code == 202)
        if not is_known or (answer.status_code == 503 and "retry-after" not in answer.headers):
            self._counts.faulty.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        return answer


class Chaos(threading.Thread):
    """One fault after the other, each mended before the next begins; between them a breath."""

    def __init__(self, site: Site, counts: Counts, seed: int) -> None:
        super().__init__(name="chaos", daemon=True)
        self._site = site
        self._counts = counts
        self._draw = random.Random(seed)
        self._over = threading.Event()
        self._live = 0
        self.error: BaseException | None = None

    def stop(self) -> None:
        self._over.set()
        self.join()
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        faults: list[Callable[[], None]] = [
            self.kill_postgres, self.freeze_postgres, self.kill_redis, self.freeze_redis, self.kill_api, self.restart_api,
            self.freeze_api, self.kill_worker, self.kill_stores, self.kill_all, self.change_version, self.empty_redis,
        ]  # fmt: skip
        try:
            while not self._over.is_set():
                order = self._draw.sample(faults, len(faults))
                for fault in order:
                    if self._over.wait(self._draw.uniform(0.3, 1.5)):
                        return
                    self._counts.faults[fault.__name__] += 1
                    fault()
        except BaseException as error:  # noqa: BLE001 - shown by `stop`
            self.error = error

    def _pause(self) -> None:
        time.sleep(self._draw.uniform(0.3, 2.5))

    def _some_api(self) -> int:
        return self._draw.randrange(self._site.num_api)

    def kill_postgres(self) -> None:
        self._site.kill_postgres()
        self._pause()
        self._site.start_postgres()

    def freeze_postgres(self) -> None:
        self._site.freeze_postgres()
        self._pause()
        self._site.thaw_postgres()

    def kill_redis(self) -> None:
        self._site.kill_redis()
        self._pause()
        self._site.start_redis()

    def freeze_redis(self) -> None:
        self._site.freeze_redis()
        self._pause()
        self._site.thaw_redis()

    def empty_redis(self) -> None:
        """Only what is derived: an operator's FLUSHALL would also take what waits for the database."""
        import redis
        from redis.backoff import ConstantBackoff
        from redis.retry import Retry

        patient = Retry(ConstantBackoff(0.2), 100)  # one that was just started reads its file first
        with redis.Redis.from_url(
            self._site.redis_url, retry=patient, retry_on_error=[redis.BusyLoadingError]
        ) as client:
            for key in client.scan_iter(match="duoscene:*", count=1000):
                if b":bridge" not in key and b":ub:" not in key and b":sb:" not in key:
                    client.delete(key)

    def kill_api(self) -> None:
        place = self._some_api()
        self._site.kill_api(place)
        self._pause()
        self._site.start_api(place)

    def restart_api(self) -> None:
        place = self._some_api()
        self._site.stop_api(place)
        self._site.start_api(place)

    def freeze_api(self) -> None:
        place = self._some_api()
        self._site.freeze_api(place)
        self._pause()
        self._site.thaw_api(place)

    def kill_worker(self) -> None:
        self._site.kill_worker()
        self._site.start_worker()

    def kill_stores(self) -> None:
        self._site.kill_redis()
        self._site.kill_postgres()
        self._pause()
        self._site.start_postgres()
        self._site.start_redis()

    def kill_all(self) -> None:
        for place in range(self._site.num_api):
            self._site.kill_api(place)
        self._site.kill_worker()
        self.kill_stores()
        for place in range(self._site.num_api):
            self._site.start_api(place)
        self._site.start_worker()

    def change_version(self) -> None:
        self._live = 1 - self._live
        activate(self._site, VERSIONS[self._live])


@dataclass
class Verdict:
    counts: Counts
    missing: int
    more_than_once: int
    stored: int
    left_waiting: int
    comparison: Comparison

    def __str__(self) -> str:
        c = self.counts
        lines = (
            ("faults", dict(c.faults)),
            ("posts by status", dict(c.posts)), ("slates by status", dict(c.slates)),
            ("slates by version", dict(c.versions)), ("slates degraded", dict(c.degraded)),
            ("probes of one version", c.probes), ("slowest slate, ms", round(c.slowest_ms)),
            ("own purchase shown again, not marked", c.unread),
            ("events sent / acknowledged", f"{len(c.sent)} / {len(c.acknowledged)}"),
            ("  of them stored", self.stored), ("  acknowledged and missing", self.missing),
            ("  stored more than once", self.more_than_once), ("  still waiting in Redis", self.left_waiting),
            ("live states compared / wrong / busy",
             f"{self.comparison.states} / {self.comparison.num_wrong} / {self.comparison.busy}"),
            ("trend buckets compared / wrong", f"{self.comparison.buckets} / {self.comparison.trends}"),
            ("answers that must never be", c.faulty[:5] + c.faulty[5:][-5:]),
        )  # fmt: skip
        return "\n".join(f"{name + ':':40} {value}" for name, value in lines)

    def check(self) -> None:
        assert not self.counts.faulty, f"{len(self.counts.faulty)} answers that must never be"
        assert (self.missing, self.more_than_once, self.left_waiting) == (0, 0, 0)
        assert self.comparison.is_equal, self.comparison
        assert self.counts.acknowledged
        assert self.counts.slates["200"]


def run(site: Site, seconds: float, seed: int) -> Verdict:
    """site: everything runs, both versions are registered."""
    counts = Counts()
    reference = references(site)
    assert reference[VERSIONS[0]] != reference[VERSIONS[1]]
    chaos = Chaos(site, counts, seed)
    chaos.start()
    asyncio.run(Shoppers(site, counts, reference, seed).run(seconds, chaos.stop))
    site.wait_ready()
    if counts.faulty:
        counts.faulty += site.exceptions()
    return asyncio.run(judge(site, counts))


def references(site: Site) -> dict[str, list[tuple[str, float]]]:
    """What each version answers to PROBE while nothing is broken; the first stays live."""
    found = {}
    with site.client() as client:
        for version in reversed(VERSIONS):
            activate(site, version)
            deadline = time.monotonic() + CALM_SECONDS
            # several, because the processes swap one after the other
            while {client.post("/v1/recommendations", json=PROBE).json()["model_version"] for _ in range(8)} != {
                version
            }:
                assert time.monotonic() < deadline, f"version {version} does not go live"
                time.sleep(0.2)
            slates = [slate_of(client.post("/v1/recommendations", json=PROBE).json()) for _ in range(4)]
            assert all(is_like(slate, slates[0]) for slate in slates)
            found[version] = slates[0]
    return found


def activate(site: Site, version: str) -> None:
    with site.client() as client:
        for _ in range(20):
            try:
                if client.post(f"/v1/admin/models/{version}/activate", json={"force": True}).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.3)


def slate_of(slate: dict[str, Any]) -> list[tuple[str, float]]:
    return [(item["item_id"], item["score"]) for item in slate["items"]]


def is_like(slate: list[tuple[str, float]], reference: list[tuple[str, float]] | None) -> bool:
    return reference is not None and len(slate) == len(reference) and all(
        abs(score - expected) < 1e-3 for (_, score), (_, expected) in zip(slate, reference, strict=True)
    )  # fmt: skip


async def judge(site: Site, counts: Counts) -> Verdict:
    """Once everything runs again and has had time to mend itself; nothing is repaired by the judge."""
    engine = create_engine(site.database_url)
    live = RedisLiveState(
        site.redis_url, events=PostgresEvents(engine), subjects=PostgresSubjects(engine),
        revisions=PostgresRevisions(engine),
    )  # fmt: skip
    bridge = RedisBridge(site.redis_url, max_events=1)
    deadline = time.monotonic() + CALM_SECONDS
    try:
        while await bridge.length() and time.monotonic() < deadline:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.2)
        comparison = await compare(live, repair=False)
        while not comparison.is_equal and time.monotonic() < deadline:
            await asyncio.sleep(1.0)
            comparison = await compare(live, repair=False)
        stored = await stored_ids(site.database_url)
        return Verdict(
            counts,
            missing=len(counts.acknowledged - stored.keys()),
            more_than_once=sum(count > 1 for count in stored.values()),
            stored=sum(event_id in stored for event_id in counts.sent),
            left_waiting=await bridge.length(),
            comparison=comparison,
        )
    finally:
        await bridge.close()
        await live.close()
        await engine.dispose()


async def stored_ids(database_url: str) -> Counter[str]:
    connection = await asyncpg.connect(database_url)
    try:
        return Counter(row["event_id"] for row in await connection.fetch("SELECT event_id FROM events"))
    finally:
        await connection.close()
