"""Known answers of the ranker's features."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from app.features.moment import Moment
from app.features.ranking import FEATURES, SOURCES, Case, ItemFacts, Shopper, features_of
from app.features.ranking.names import ROW
from app.features.users import KINDS, HistoryItem, fold_users
from app.retrieval.candidates import Candidates
from app.retrieval.sources import LEARNABLE, QUERY

NOW, DAY, HOUR = 1_700_000_000.0, 86_400.0, 3_600.0
VECTORS = np.eye(4, dtype=np.float32)
FACTS = ItemFacts(
    np.asarray([10, 20, 40, np.nan], np.float32),
    np.log1p(np.asarray([10, 20, 40, np.nan], np.float32)),
    *(np.asarray(codes, np.int32) for codes in ([1, 1, 2, 0], [1, 1, 1, 0], [1, 2, 2, 0])),
)


@dataclass
class Shop:
    """Four items; item 3 is new."""

    facts: ItemFacts = field(default_factory=lambda: FACTS)
    home: str = "nz"

    def vectors(self, rows_C):
        return VECTORS[rows_C]

    def texts(self, rows_C):
        return VECTORS[rows_C]

    def words(self, text_T):
        return text_T

    def published(self, rows_C):
        return np.asarray([NOW - 30 * DAY, -np.inf, NOW, NOW])[rows_C]

    def popularity(self, rows_C, scenario_C):
        return np.asarray([scenario_C, [-2] * len(rows_C), np.asarray([1, 2, 3, np.nan])[rows_C]], np.float32)

    def intervals(self, rows_C):
        return np.asarray([4.0, np.nan, np.nan, np.nan], np.float32)[rows_C]


def found(rows=(0, 1, 2, 3), **sources):
    """sources: name -> (ranks, scores)."""
    return Candidates(
        np.asarray(rows, np.int64),
        np.linspace(0.9, 0.3, len(rows)).astype(np.float32),
        {name: np.asarray(ranks, np.int32) for name, (ranks, _) in sources.items()},
        {name: np.asarray(scores, np.float32) for name, (_, scores) in sources.items()},
    )


def shopper(*history, towers=None, **moment):
    users = fold_users(
        [[HistoryItem(row, KINDS[kind], at) for row, kind, at in history]], [NOW], np.zeros((1, 4), np.float32), [0],
        moments=[Moment(at=NOW, **moment)],
    )  # fmt: skip
    return Shopper(users, 0, None if towers is None else np.asarray(towers, np.float32))


def features(candidates=None, who=None, **options):
    case = Case(candidates or found(), who or shopper(), options.pop("scenario", 0), **options)
    out_FC = features_of([case], Shop())
    return {name: out_FC[row] for name, row in ROW.items()}


def test_the_rows_are_those_of_the_sources_there_are():
    assert (*LEARNABLE, QUERY) == SOURCES
    assert len(set(FEATURES)) == len(FEATURES) <= 64
    assert FEATURES[: 2 * len(SOURCES)] == tuple(f"{source} {what}" for what in ("rank", "score") for source in SOURCES)


def test_a_source_that_did_not_bring_an_item_says_nothing():
    said = features(found(two_tower=([1, 2, 0, 3], [0.8, 0.6, np.nan, 0.4])))
    assert said["two_tower rank"].tolist() == pytest.approx([1, 1 / math.log2(3), 0, 0.5])
    assert said["two_tower score"].tolist() == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert said["sources"].tolist() == [1, 1, 0, 1]
    assert not said["popular rank"].any()
    assert said["fused"].tolist() == pytest.approx([0.9, 0.7, 0.5, 0.3])
    assert said["log fused"].tolist() == pytest.approx(np.log([0.9, 0.7, 0.5, 0.3]).tolist())


def test_the_towers_of_the_scenario_and_of_the_shop():
    said = features(who=shopper(towers=[[1, 0, 0, 0], [0, 1, 0, 0]]))
    assert said["tower"].tolist() == [1, 0, 0, 0]
    assert said["pooled tower"].tolist() == [0, 1, 0, 0]
    assert np.isnan(features()["tower"]).all(), "nobody knows without them"


def test_likeness_to_what_was_looked_at_and_to_the_words():
    said = features(who=shopper((0, "click", NOW - 2 * HOUR), (2, "click", NOW - HOUR), query_T=VECTORS[3]))
    assert said["text of last"].tolist() == said["tower of last"].tolist() == [0, 0, 1, 0]
    assert said["text of recent"].tolist() == said["tower of recent"].tolist() == [1, 0, 1, 0]
    assert said["text of history"].tolist() == pytest.approx([0.97 / 1.97, 0, 1 / 1.97, 0])
    assert said["text of query"].tolist() == [0, 0, 0, 1]
    assert said["words"].tolist() == [1, 1, 1, 1]
    assert np.isnan(features()["text of query"]).all()


def test_price_against_the_habit():
    said = features(who=shopper((1, "purchase", NOW - DAY)))
    over = (math.log1p(40) - math.log1p(20)) / 0.25
    assert said["above habit"][:3].tolist() == pytest.approx(
        [(math.log1p(10) - math.log1p(20)) / 0.25, 0, over], abs=1e-5
    )
    assert said["from habit"][2] == pytest.approx(over, rel=1e-5)
    assert np.isnan(said["price"][3])
    assert np.isnan(features()["above habit"]).all(), "no habit without a purchase"


def test_shares_of_category_and_brand_count_liking():
    said = features(who=shopper((0, "click", NOW - DAY), (2, "purchase", NOW - HOUR)))
    total = 0.97 + 3
    assert said["category share"].tolist() == pytest.approx([0.97 / total, 0.97 / total, 3 / total, 0])
    assert said["department share"].tolist() == pytest.approx([1, 1, 1, 0])
    assert said["brand share"].tolist() == pytest.approx([0.97 / total, 3 / total, 3 / total, 0])
    assert said["category of last"].tolist() == [0, 0, 1, 0]
    assert said["brand of last"].tolist() == [0, 1, 1, 0], "an unknown brand is not the brand of anything"


def test_age_popularity_and_what_is_new():
    said = features(scenario=5)
    assert said["fresh"][[0, 2]].tolist() == pytest.approx([math.exp(-1), 1.0])
    assert np.isnan(said["fresh"][1])
    assert said["age"][0] == pytest.approx(math.log1p(30))
    assert said["popular here"][:3].tolist() == [5, 5, 5]
    assert np.isnan(said["known"][3])


def test_what_was_had_and_what_was_shown():
    seen = {"seen_rows_K": np.asarray([2, 1]), "seen_times_K": np.asarray([3.0, 1.0], np.float32)}
    said = features(
        who=shopper((0, "purchase", NOW - 9 * DAY), (1, "click", NOW - 5 * DAY), (0, "click", NOW - 2 * DAY), **seen)
    )
    assert said["times had"].tolist() == pytest.approx([math.log1p(2), math.log1p(1), 0, 0])
    assert said["since had"].tolist() == pytest.approx([1 / 3, 1 / 6, 0, 0])
    assert said["due"].tolist() == pytest.approx([2.05 / 4, 0, 0, 0]), "nobody knows when item 1 is due"
    assert said["shown"].tolist() == pytest.approx([0, math.log1p(1), math.log1p(3), 0])


def test_the_request_is_said_of_every_candidate():
    said = features(who=shopper((0, "click", NOW - HOUR), context={"device": "Mobile", "country": "NZ"}))
    assert said["mobile"].tolist() == [1] * 4
    assert said["home country"].tolist() == [1] * 4
    assert not said["other country"].any()
    assert said["history"][0] == pytest.approx(math.log1p(1))
    assert said["idle"][0] == pytest.approx(math.log1p(1))
    assert np.isnan(features()["idle"]).all()


def test_asked_for_at_some_places_they_say_the_same():
    candidates = found(
        two_tower=([1, 2, 0, 3], [0.8, 0.6, np.nan, 0.4]), popular=([4, 0, 1, 2], [0.1, np.nan, 0.9, 0.8])
    )
    who = shopper((0, "click", NOW - DAY), (2, "purchase", NOW - HOUR), towers=[[1, 0, 0, 0], [0, 1, 0, 0]])
    whole = features_of([Case(candidates, who, 0)], Shop())
    part = features_of([Case(candidates, who, 0, np.asarray([3, 1]))], Shop())
    np.testing.assert_array_equal(part, whole[:, [3, 1]])


def test_several_requests_say_what_each_says_alone():
    towers = [[1, 0, 0, 0], [0, 1, 0, 0]]
    seen = {"seen_rows_K": np.asarray([2, 1]), "seen_times_K": np.asarray([3.0, 1.0], np.float32)}
    clicks = [(row % 3, "click", NOW - (20 - row) * DAY) for row in range(12)]
    cases = [
        Case(found(two_tower=([1, 2, 0, 3], [0.8, 0.6, np.nan, 0.4])), shopper(*clicks, towers=towers, **seen), 1),
        Case(found((2,), popular=([1], [0.5])), shopper(), 0),
        Case(found((3, 0)), shopper((0, "purchase", NOW - DAY), query_T=VECTORS[1], context={"device": "web"}), 5),
        Case(found(), shopper((2, "dislike", NOW - HOUR), towers=towers), 0, np.asarray([2, 0])),
        Case(found(()), shopper((1, "click", NOW - HOUR)), 0),
    ]
    alone = [features_of([case], Shop()) for case in cases]
    assert [out_FC.shape[1] for out_FC in alone] == [4, 1, 2, 2, 0]
    np.testing.assert_array_equal(features_of(cases, Shop()), np.concatenate(alone, axis=1))


def test_facts_of_a_frame_are_those_of_its_items():
    from app.catalogue.item import Item
    from app.catalogue.records import frame_of
    from app.features.items import ItemVocabulary

    items = [
        Item(f"i{n}", category=("A", "B") if n % 2 else (), brand="x" if n < 4 else None, price=float(n) if n else None)
        for n in range(8)
    ]
    vocabulary = ItemVocabulary.fit(items)
    columns = ItemFacts.of_frame(frame_of(items), vocabulary), ItemFacts.of_items(items, vocabulary.rows(items))
    for name in ("price_R", "log_price_R", "category_R", "department_R", "brand_R"):
        np.testing.assert_array_equal(*(getattr(facts, name) for facts in columns))
    joined = columns[0].joined(columns[1])
    assert len(joined) == 16
    assert replace(joined).brand_R.tolist() == [*columns[0].brand_R, *columns[1].brand_R]
