"""What is no error, but skews a model: imbalance, outliers, gaps."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from app.catalogue.shop_data import ShopData

_FEW_EVENTS = 100  # below, shares say nothing
_HEAVY_USER_RATIO, _HEAVY_ITEM_RATIO, _MAIN_TYPE_RATIO = 0.01, 0.05, 0.95
_PRICE_OUTLIER = 100.0  # times the median
_MANY = 0.2


def write_notes(data: ShopData) -> Iterator[str]:
    yield from _notes_on_items(data.items)
    if len(data.events) >= _FEW_EVENTS:
        yield from _notes_on_events(data.events)


def _notes_on_items(items: pl.DataFrame) -> Iterator[str]:
    if items.is_empty():
        return
    no_words = pl.all_horizontal(
        pl.col("title", "description", "brand").is_null(), pl.col("category", "tags").list.len() == 0
    )
    textless = items.filter(no_words).height
    if textless:
        yield f"{_part(textless, len(items))} of the items have no title, description, brand, category or tags; only behaviour can place them"
    median = items["price"].median()
    if isinstance(median, float) and median > 0:
        dear = items.filter(pl.col("price") > _PRICE_OUTLIER * median)
        if len(dear):
            yield f"{len(dear):,} prices are over {_PRICE_OUTLIER:.0f} times the median {median:,.2f}, e.g. {dear['item_id'][0]}"


def _notes_on_events(events: pl.DataFrame) -> Iterator[str]:
    shares = {kind: count / len(events) for kind, count in events["type"].value_counts(sort=True).iter_rows()}
    yield "kinds of event: " + ", ".join(f"{kind} {share:.1%}" for kind, share in list(shares.items())[:8])
    main = next(iter(shares))
    if _MAIN_TYPE_RATIO < shares[main] < 1:
        yield f"nearly all events are of one kind, {main}; the others are too few to learn from"
    for column, limit in (("user_id", _HEAVY_USER_RATIO), ("item_id", _HEAVY_ITEM_RATIO)):
        yield from _heavy(events[column].drop_nulls(), limit)
    per_user = events["user_id"].drop_nulls().value_counts()["count"]
    once = int((per_user == 1).sum())
    if len(per_user) and once > _MANY * len(per_user):
        yield f"{_part(once, len(per_user))} of the shoppers have a single event"
    without_scenario = events["scenario"].null_count()
    if 0 < without_scenario < len(events):
        yield f"{_part(without_scenario, len(events))} of the events name no scenario"


def _heavy(ids: pl.Series, limit: float) -> Iterator[str]:
    counts = ids.value_counts(sort=True)
    heavy = counts.filter(pl.col("count") > limit * len(ids))
    if len(heavy) and len(counts) > 2 / limit:
        worst, count = heavy.row(0)
        yield f"{len(heavy):,} {ids.name} with over {limit:.0%} of all events each; {worst!r} has {_part(count, len(ids))}"


def _part(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})"
