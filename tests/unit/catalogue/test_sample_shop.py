"""The sample shop must be learnable: behaviour and words tell tastes, popularity does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from numpy.typing import NDArray

from app.catalogue.sample_shop import Oracle, SampleShop, generate_sample_shop
from app.catalogue.sample_shop.oracle import SCENARIOS
from app.catalogue.sample_shop.words import fitting, load_words

Matrix = NDArray[np.float32]


@pytest.fixture(scope="module")
def shop() -> SampleShop:
    return generate_sample_shop(1)


def test_same_seed_same_shop_other_seed_other_shop() -> None:
    first, again, other = (generate_sample_shop(seed, num_items=150, num_users=80) for seed in (5, 5, 6))
    assert first.data.items.equals(again.data.items)
    assert first.data.users.equals(again.data.users)
    assert first.data.events.equals(again.data.events)
    assert not first.data.events.equals(other.data.events)


def test_ninety_days_end_when_told() -> None:
    until = datetime(2027, 5, 1, 12, tzinfo=UTC)
    events = generate_sample_shop(5, num_items=150, num_users=80, until=until).data.events
    assert until - timedelta(days=90) <= events["occurred_at"].min() < until - timedelta(days=80)
    assert until - timedelta(days=10) < events["occurred_at"].max() <= until


def test_products_read_like_a_shop(shop: SampleShop) -> None:
    items = shop.data.items
    assert len(items) == 1_200
    assert items["category"].list.first().n_unique() == 12
    assert items["title"].n_unique() > 1_190
    assert items["description"].str.count_matches(r"[.!] |\.$").is_between(1, 3).all()
    assert (
        items.null_count().select("title", "description", "brand", "price", "attributes").sum_horizontal().item() == 0
    )
    for kind in load_words().kinds:
        prices = items.filter(pl.col("category").list.get(2) == kind.path[2])["price"]
        assert prices.is_between(0.55 * kind.price[0], 1.05 * kind.price[1]).all(), kind.key
    assert all(orjson.loads(text)["material"] for text in items["attributes"])


def test_word_material_is_consistent() -> None:
    words = load_words()
    for kind in words.kinds:
        assert set(kind.goes_with) <= set(words.kind_row), kind.key
        assert set(kind.styles) <= set(words.style_row), kind.key
        assert any(kind.path[0] in brand.departments for brand in words.brands), kind.key
        for noun in kind.nouns:
            assert fitting(kind.materials, noun), noun
            assert fitting(kind.sizes, noun), noun
            assert min(len(fitting(kind.features, noun)), len(fitting(kind.uses, noun))) >= 2, noun
    for persona in words.personas:
        assert set(persona.kinds) <= set(words.kind_row), persona.key
        assert set(persona.styles) <= set(words.style_row), persona.key
    assert {department for brand in words.brands for department in brand.departments} == set(words.departments)


def test_most_shoppers_say_what_they_like(shop: SampleShop) -> None:
    assert 0.55 < shop.data.users["text"].is_not_null().mean() < 0.65
    fans = shop.data.users.filter(pl.col("text").str.contains("three cats who own the place"))
    cat_kinds = shop.data.items["category"].list.get(1) == "Cats"
    wanted = shop.oracle.affinity(fans["user_id"].to_list(), "home")
    assert wanted[:, cat_kinds.to_numpy()].mean() > 5 * wanted[:, ~cat_kinds.to_numpy()].mean()


def test_events_hang_together(shop: SampleShop) -> None:
    events = shop.data.events
    assert events["event_id"].n_unique() == len(events)
    assert events["occurred_at"].is_sorted()
    clicks, impressions = (events.filter(pl.col("type") == kind) for kind in ("click", "impression"))
    key = ["recommendation_id", "item_id", "position", "scenario", "user_id"]
    assert len(clicks.join(impressions, on=key, how="anti")) == 0
    purchases = events.filter(pl.col("type") == "purchase")
    carts = events.filter(pl.col("type") == "cart_add")
    assert len(purchases.join(carts, on=["session_id", "item_id"], how="anti")) == 0
    assert purchases.select(pl.col("value", "quantity", "order_id", "currency").is_null().any()).row(0) == (False,) * 4
    assert set(events["scenario"].drop_nulls()) == set(SCENARIOS)
    published = events.join(shop.data.items, on="item_id")
    assert (published["occurred_at"] >= published["published_at"]).all()


def test_scenarios_differ_in_what_is_clicked(shop: SampleShop) -> None:
    attributes = [orjson.loads(text) for text in shop.data.items["attributes"]]
    items = shop.data.items.select("item_id", "category", "brand", "price", "published_at").with_columns(
        discount=pl.Series([entry.get("discount_percent", 0) for entry in attributes])
    )
    clicks = shop.data.events.filter(pl.col("type") == "click").join(items, on="item_id")
    age = (pl.col("occurred_at") - pl.col("published_at")).dt.total_days()
    by = {
        row["scenario"]: row
        for row in clicks.group_by("scenario")
        .agg(pl.col("discount").mean(), pl.col("price").median(), fresh=(age < 45).mean())
        .to_dicts()
    }
    assert by["promotion"]["discount"] > 2 * by["home"]["discount"]
    assert by["new_arrivals"]["fresh"] > 2 * by["home"]["fresh"]
    assert by["cart"]["price"] < 0.8 * by["home"]["price"]
    assert _share_of_same_kind(clicks, items, "similar") > 2 * _share_of_same_kind(clicks, items, "complements")
    home, mail = (_share_of_loved_brands(shop, clicks, scenario) for scenario in ("home", "email"))
    assert mail > 1.2 * home


def _share_of_same_kind(clicks: pl.DataFrame, items: pl.DataFrame, scenario: str) -> float:
    started = clicks.filter(pl.col("scenario") == scenario).with_columns(
        about=pl.col("context").str.json_path_match("$.context_item")
    )
    pairs = started.join(items.select(pl.col("item_id").alias("about"), about_category="category"), on="about")
    return float((pairs["category"] == pairs["about_category"]).mean())


def _share_of_loved_brands(shop: SampleShop, clicks: pl.DataFrame, scenario: str) -> float:
    user_row = {user_id: row for row, user_id in enumerate(shop.oracle.user_ids)}
    item_row = {item_id: row for row, item_id in enumerate(shop.oracle.item_ids)}
    loves = shop.oracle.users["brands"] @ shop.oracle.items["brands"].T > 0
    chosen = clicks.filter(pl.col("scenario") == scenario)
    return float(np.mean([loves[user_row[u], item_row[i]] for u, i in chosen.select("user_id", "item_id").iter_rows()]))


def test_oracle_is_kept_and_found_again(shop: SampleShop, tmp_path: Path) -> None:
    shop.oracle.save(tmp_path / "oracle.npz")
    again = Oracle.load(tmp_path / "oracle.npz")
    users = shop.oracle.user_ids[10:13]
    for scenario in SCENARIOS:
        affinity = again.affinity(users, scenario)
        assert affinity.shape == (3, 1_200)
        assert affinity.dtype == np.float32
        np.testing.assert_array_equal(affinity, shop.oracle.affinity(users, scenario))


def test_tastes_beat_popularity_and_can_be_learned(shop: SampleShop) -> None:
    """Last 10 % of the time held out, NDCG@10 of one home slate per user. Printed figures go to the README."""
    past_UN, target_UN = _split(shop)
    users = np.flatnonzero((past_UN.sum(1) >= 2) & target_UN.any(1))
    past, target = past_UN[users], target_UN[users]
    gram = past_UN.T @ past_UN
    norm = np.sqrt(np.diag(gram)) + 1e-6
    cosine = gram / np.outer(norm, norm)
    np.fill_diagonal(cosine, 0.0)
    inverse = np.linalg.inv(gram + 60 * np.eye(len(gram), dtype=np.float32))
    ease = -inverse / np.diag(inverse)
    np.fill_diagonal(ease, 0.0)
    scores = {
        "oracle": shop.oracle.affinity([shop.oracle.user_ids[user] for user in users], "home"),
        "popularity": np.broadcast_to(past_UN.sum(0), past.shape),
        "item_cf": past @ cosine,
        "ease": past @ ease,
    }
    figures = {name: _ndcg_at_10(score, past > 0, target) for name, score in scores.items()}
    print({name: round(figure, 4) for name, figure in figures.items()}, f"over {len(users)} users")
    assert figures["oracle"] > 0.3
    assert figures["popularity"] < 0.5 * figures["oracle"]
    assert 2 * figures["popularity"] < figures["item_cf"] < 0.9 * figures["oracle"]
    assert figures["ease"] > 0.75 * figures["oracle"]


def test_oracle_of_a_scenario_knows_its_clicks_best(shop: SampleShop) -> None:
    past, target = _split(shop, "promotion")
    users = np.flatnonzero(target.any(1))
    ids = [shop.oracle.user_ids[user] for user in users]
    own, home = (
        _ndcg_at_10(shop.oracle.affinity(ids, scenario), past[users] > 0, target[users])
        for scenario in ("promotion", "home")
    )
    assert own > 1.5 * home


def _split(shop: SampleShop, scenario: str | None = None) -> tuple[Matrix, NDArray[np.bool_]]:
    """What was taken before the last tenth of the time, and what was taken anew in it (in this scenario)."""
    events = shop.data.events.filter(pl.col("type").is_in(["view", "click", "cart_add", "purchase"]))
    user_row = {user_id: row for row, user_id in enumerate(shop.oracle.user_ids)}
    item_row = {item_id: row for row, item_id in enumerate(shop.oracle.item_ids)}
    cut = events["occurred_at"].quantile(0.9)
    past = np.zeros((len(user_row), len(item_row)), np.float32)
    target = np.zeros(past.shape, np.bool_)
    columns = ["user_id", "item_id", "occurred_at", "type", "scenario"]
    for user, item, at, kind, where in events.select(columns).iter_rows():
        cell = user_row[user], item_row[item]
        if at <= cut:
            past[cell] = 1.0
        elif kind != "view" and scenario in (None, where):
            target[cell] = True
    return past, target & (past == 0)


def _ndcg_at_10(scores: Matrix, past: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    top = np.argsort(-np.where(past, -np.inf, scores), axis=1, kind="stable")[:, :10]
    gain = 1 / np.log2(np.arange(2, 12))
    ideal = np.cumsum(gain)[np.minimum(target.sum(1), 10) - 1]
    return float(np.mean((np.take_along_axis(target, top, axis=1) * gain).sum(1) / ideal))
