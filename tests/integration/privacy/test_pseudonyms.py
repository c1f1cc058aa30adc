"""With pseudonyms the storefront gets the same answers, and no store ever sees one of its ids."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import polars as pl
import pytest
import redis

from app.catalogue.shop_data import ShopData
from app.main import create_app
from app.privacy.pseudonymous import PseudonymousShopData, renamed_shop
from app.privacy.pseudonyms import Pseudonyms
from app.stores.postgres.shop_data import PostgresShopData
from app.stores.postgres.tables import events, impressions, users
from app.types import no_progress
from app.wiring.stores import open_stores
from tests.conftest import Servers, database_named, run_sql
from tests.integration.privacy.conftest import Site, open_site, until
from tests.integration.privacy.holdings import keys_with, rows, tables_with
from tests.unit.learning.builders import shop

KEY, SECRET = "an-admin-key-for-these-tests", "a secret that only the settings know"
SHOPPER, GUEST, VISIT = "shopper/4711 ü", "guest-4711", "visit-4711"
VOLATILE = re.compile(
    r'"(recommendation_id|next_cursor|retracted_at|occurred_at|received_at|shown_at|created_at|exported_at|erased_at|page_id|until)":"[^"]*"'
    r'|"(purchased|seen|dismissed|scores|propensities|item_ids)":[{\[][^}\]]*[}\]]|"(score|share|weight)":[0-9.e-]+'
)


@asynccontextmanager
async def storefront(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(site.settings, site.services)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://shop", headers=headers) as client:
            yield client


async def visit(site: Site) -> list[str]:
    """Every call that takes or gives back an id of a shopper; its answers, without what differs at each run."""
    answers: list[str] = []
    path = f"/v1/users/{quote(SHOPPER, safe='')}"
    async with storefront(site) as shop_window:

        async def call(method: str, url: str, **more: Any) -> dict[str, Any]:
            response = await shop_window.request(method, url, **more)
            answer = dict(response.json()) if response.content else {}
            answers.append(
                f"{method} {url} {response.status_code} {told_of(answer) or VOLATILE.sub('', response.text)}"
            )
            return answer

        await call("POST", "/v1/items", json=[{"item_id": f"sku-{n}", "title": f"Thing {n}"} for n in range(20)])
        await call("PUT", path, json={"user_id": SHOPPER, "text": "I fish", "tags": ["vip"]})
        await call("PATCH", path, json={"age": 41})
        await call("POST", "/v1/users", json=[{"user_id": GUEST, "occupation": "baker"}, {"user_id": "other"}])
        await call("GET", path)
        await call("GET", "/v1/users/nobody")
        await call("GET", "/v1/users", params={"q": SHOPPER})
        await call("GET", "/v1/users", params={"q": "FISH"})
        await call("GET", "/v1/users", params={"q": "baker"})
        listed: list[str] = []
        cursor = None
        while True:
            page = (
                await shop_window.get("/v1/users", params={"limit": 1} | ({"cursor": cursor} if cursor else {}))
            ).json()
            listed += [user["user_id"] for user in page["users"]]
            if (cursor := page["next_cursor"]) is None:
                break
        answers.append(str(sorted(listed)))
        for n, whose in enumerate(
            ({"user_id": GUEST}, {"session_id": VISIT}, {"user_id": SHOPPER, "session_id": VISIT})
        ):
            event = {"event_id": f"e{n}", "type": "purchase", "item_id": f"sku-{n}", **whose}
            await call("POST", "/v1/feedback", json=event)
            await call("POST", "/v1/feedback", json={"events": [event]})
        await call(
            "POST", "/v1/feedback", json={"event_id": "gone", "type": "click", "item_id": "sku-5", "user_id": SHOPPER}
        )
        await call("DELETE", "/v1/feedback/gone")
        await until(lambda: is_stocked(shop_window))
        whose = {"user_id": SHOPPER, "session_id": VISIT}
        await call("GET", "/v1/recommendations", params={"scenario": "home", "n": 3, **whose})
        slate = await call("POST", "/v1/recommendations", json={"scenario": "home", "n": 3, "reasons": True, **whose})
        await call("POST", "/v1/recommendations/next", json={"cursor": slate["next_cursor"]})
        page = await call("POST", "/v1/pages", json={"slates": [{"name": "a", "scenario": "home", "n": 2}], **whose})
        answers[-1] = told_of(page["slates"]["a"])
        await call("POST", "/v1/rank", json={"scenario": "home", "item_ids": ["sku-1", "sku-2"], **whose})
        await call("GET", "/v1/items/sku-1/similar", params={"user_id": SHOPPER, "n": 20})
        await call("POST", f"{path}/merge", json={"from_user_id": SHOPPER})
        await call("POST", f"{path}/merge", json={"from_user_id": GUEST})
        await call("POST", f"{path}/merge", json={"from_session_id": VISIT})
        await call("GET", f"{path}/profile")
        await until(lambda: is_written(site))
        await call("GET", f"{path}/export")
    return answers


def told_of(answer: dict[str, Any]) -> str:
    """Of a slate: how long it is, and which of the bought items it holds; what is popular depends on the moment."""
    if "items" not in answer:
        return ""
    held = {item["item_id"] for item in answer["items"]}
    return f"{len(held)} items, bought {sorted(held & {'sku-0', 'sku-1', 'sku-2'})} {answer['degraded']}"


async def is_stocked(shop_window: httpx.AsyncClient) -> bool:
    slate = (await shop_window.post("/v1/recommendations", json={"scenario": "home", "n": 1})).json()
    return slate["degraded"] == ["model"] and len(slate["items"]) == 1


async def is_written(site: Site) -> bool:
    return sum(owner is not None for (owner,) in await rows(site.engine, impressions.c.user_id)) == 5


@pytest.fixture
def two_databases(servers: Servers, template_database: str) -> Iterator[dict[str, str]]:
    databases = {name: f"duoscene_ids_{name}_{uuid.uuid4().hex[:12]}" for name in ("plain", "hidden")}
    for database in databases.values():
        run_sql(servers.database_url, f'CREATE DATABASE "{database}" TEMPLATE "{template_database}"')
    yield {name: database_named(servers.database_url, database) for name, database in databases.items()}
    for database in databases.values():
        run_sql(servers.database_url, f'DROP DATABASE "{database}" WITH (FORCE)')


async def test_the_storefront_notices_nothing_and_no_store_sees_its_ids(
    two_databases: dict[str, str], redis_url: str, tmp_path: Path
) -> None:
    told: dict[str, list[str]] = {}
    for name, database_url in two_databases.items():
        options = {"pseudonym_secret": SECRET} if name == "hidden" else {}
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
        async with open_site(database_url, redis_url, tmp_path / name, admin_key=KEY, **options) as site:
            told[name] = await visit(site)
            for word in ("4711", SHOPPER):
                where = await tables_with(site.engine, word), keys_with(site.redis_url, word)
                assert all(where) if name == "plain" else not any(where), (name, word, where)
            async with storefront(site) as shop_window:
                response = await shop_window.delete(f"/v1/users/{quote(SHOPPER, safe='')}")
            told[name].append(VOLATILE.sub("", response.text))
            assert [row for row in await rows(site.engine, users.c.described, users.c.text) if row[1]] == []
            assert await rows(site.engine, events.c.event_id) == []
    for hidden, plain in zip(told["hidden"], told["plain"], strict=True):
        assert hidden.split(",") == plain.split(",")


async def test_files_hold_the_storefronts_ids(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Imported, stored, exported: an export read with another secret, or none, makes the same service."""
    data = shop([(f"u{n % 5}", f"i{n % 7}", float(n)) for n in range(40)])
    async with open_site(database_url, redis_url, tmp_path, pseudonym_secret=SECRET) as site:
        async with open_stores(site.settings) as stores:
            assert isinstance(stores.shop_data, PseudonymousShopData)
            await stores.shop_data.load(data, no_progress)
            back = await stores.shop_data.read()
        assert back.events.drop("context").equals(data.events.drop("context"))
        assert sorted(back.users["user_id"]) == sorted(data.users["user_id"])
        stored = await PostgresShopData(site.engine).read()
        assert set(stored.users["user_id"]) == set(map(Pseudonyms(SECRET).hide, data.users["user_id"]))

        async def is_known() -> bool:
            return len((await site.services.live_state.read("u1", None)).history) == 8

        await until(is_known)


@pytest.mark.parametrize("name", ["user_id", "session_id"])
def test_gaps_stay_gaps(name: str) -> None:
    data = shop([("u1", "i1", 0.0), ("u2", "i2", 1.0)])
    gaps = ShopData(data.items, data.users, data.events.with_columns(pl.lit(None, pl.String).alias(name)))
    assert renamed_shop(gaps, Pseudonyms(SECRET).hide).events[name].null_count() == 2
