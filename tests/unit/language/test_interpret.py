"""Queries as shoppers write them, in English and Chinese, and what they ask for."""

import time

import orjson
import pytest

from app.language.interpret import interpret
from app.language.names import Names, find_names
from app.language.numbers import number_of

NAMES = Names.of(
    ["Nike", "North Face", "Acme", "小米", "Le Creuset", "AT&T"],
    ["Shoes", "Running Shoes", "Electronics", "Kitchen", "Home & Garden", "电子产品", "厨房", "运动鞋", "Toys"],
)


def price(**bounds: float) -> list[dict[str, object]]:
    return [{"field": "price", operator: amount} for operator, amount in bounds.items()]


def brand(name: str) -> dict[str, object]:
    return {"field": "brand", "eq": name}


def shelf(name: str) -> dict[str, object]:
    return {"field": "category", "contains": name}


def none_of(name: str) -> dict[str, object]:
    return {"not": {"field": "category", "contains": name}}


PHRASES: list[tuple[str, str, list[dict[str, object]], list[str]]] = [
    ("gift for dad who fishes, under 50", "gift for dad who fishes", price(lt=50), []),
    ("tent below $120.50", "tent", price(lt=120.5), []),
    ("a lamp for less than 1,000 euros", "a lamp", price(lt=1000), []),
    ("lamp at most 40", "lamp", price(lte=40), []),
    ("lamp up to €40", "lamp", price(lte=40), []),
    ("lamp, max 40", "lamp", price(lte=40), []),
    ("lamp no more than 40 dollars", "lamp", price(lte=40), []),
    ("lamp 40 or less", "lamp", price(lte=40), []),
    ("my budget is 40, a warm scarf", "a warm scarf", price(lte=40), []),
    ("scarf <= 40", "scarf", price(lte=40), []),
    ("watch over $200", "watch", price(gt=200), []),
    ("watch for more than 200", "watch", price(gt=200), []),
    ("watch at least 200", "watch", price(gte=200), []),
    ("watch 200 and up", "watch", price(gte=200), []),
    ("watch over 200, waterproof", "watch waterproof", price(gt=200), []),
    ("wine between 20 and 40", "wine", price(gte=20, lte=40), []),
    ("wine from 20 to 40", "wine", price(gte=20, lte=40), []),
    ("wine $20-40", "wine", price(gte=20, lte=40), []),
    ("wine 20-40 euros", "wine", price(gte=20, lte=40), []),
    ("wine above 20 but below 40", "wine", price(gt=20, lt=40), []),
    ("a book about 30", "a book", price(gte=22.5, lte=37.5), []),
    ("around 30 dollars, a board game", "a board game", price(gte=22.5, lte=37.5), []),
    ("laptop under 1.5k", "laptop", price(lt=1500), []),
    ("cheap headphones", "cheap headphones", [], []),
    # numbers that are no prices
    ("dumbbell under 5 kg", "dumbbell under 5 kg", [], []),
    ("game for more than 4 players", "game for more than 4 players", [], []),
    ("toys for kids over 3 years", "toys for kids over 3 years", [shelf("Toys")], []),
    ("a book about 2 dogs", "a book about 2 dogs", [], []),
    ("iphone 15 case", "iphone 15 case", [], []),
    ("shoes size 42-44", "shoes size 42-44", [shelf("Shoes")], []),
    # what is not wanted
    ("gift, not electronics", "gift", [none_of("Electronics")], ["electronics"]),
    ("lunch box, no plastic", "lunch box", [], ["plastic"]),
    ("bag without leather or fur", "bag", [], ["leather", "fur"]),
    ("snacks without added sugar for kids", "snacks for kids", [], ["added sugar"]),
    ("jacket but not red", "jacket", [], ["red"]),
    ("shoes, anything but Nike", "shoes", [shelf("Shoes"), {"field": "brand", "ne": "Nike"}], ["Nike"]),
    ("I don't want toys, something for a baby", "something for a baby", [none_of("Toys")], ["toys"]),
    ("toothbrush not made of plastic", "toothbrush", [], ["plastic"]),
    ("not only for kids", "not only for kids", [], []),
    ("not too expensive perfume", "not too expensive perfume", [], []),
    # names
    ("nike trainers", "nike trainers", [brand("Nike")], []),
    ("north face jacket under 200", "north face jacket", [*price(lt=200), brand("North Face")], []),
    ("running shoes", "running shoes", [shelf("Running Shoes")], []),
    ("Nike or Acme socks", "Nike or Acme socks", [{"field": "brand", "in": ["Nike", "Acme"]}], []),
    ("kitchen and toys", "kitchen and toys", [{"or": [shelf("Kitchen"), shelf("Toys")]}], []),
    ("home & garden", "home & garden", [shelf("Home & Garden")], []),
    ("trainers like Nike", "trainers like Nike", [], []),
    ("nikes for running", "nikes for running", [], []),
    ("a shoe for the kitchens", "a shoe for the kitchens", [], []),
    ("gift for dad who fishes, under 50, not electronics", "gift for dad who fishes",
     [*price(lt=50), none_of("Electronics")], ["electronics"]),
    # Chinese
    ("50元以下的礼物", "礼物", price(lte=50), []),
    ("送爸爸的礼物,不超过200元", "送爸爸的礼物", price(lte=200), []),
    ("低于一百块的茶杯", "茶杯", price(lt=100), []),
    ("五十元以内 雨伞", "雨伞", price(lte=50), []),
    ("200元以上的手表", "手表", price(gte=200), []),
    ("至少300元的包", "包", price(gte=300), []),
    ("20到40元的书", "书", price(gte=20, lte=40), []),
    ("30元左右的玩具", "玩具", price(gte=22.5, lte=37.5), []),
    ("大约两百元的耳机", "耳机", price(gte=150, lte=250), []),
    ("3岁以上的玩具", "3岁以上的玩具", [], []),
    ("饭盒,不要塑料的", "饭盒", [], ["塑料"]),
    ("礼物,不要电子产品", "礼物", [none_of("电子产品")], ["电子产品"]),
    ("除了运动鞋以外的鞋子", "鞋子", [none_of("运动鞋")], ["运动鞋"]),
    ("不含糖和盐的零食", "零食", [], ["糖", "盐"]),
    ("非常好看的裙子", "非常好看的裙子", [], []),
    ("小米手机", "小米手机", [brand("小米")], []),
    ("适合厨房的刀", "适合厨房的刀", [shelf("厨房")], []),
    ("便宜的耳机", "便宜的耳机", [], []),
]  # fmt: skip


@pytest.mark.parametrize(("query", "text", "clauses", "not_like"), PHRASES, ids=[row[0] for row in PHRASES])
def test_a_phrase_means(query: str, text: str, clauses: list[dict[str, object]], not_like: list[str]) -> None:
    found = interpret(query, NAMES)
    assert ((found.filter or {"and": []})["and"], list(found.not_like)) == (clauses, not_like)
    assert found.text == text


def test_there_are_enough_phrases_of_both_languages() -> None:
    chinese = [query for query, *_ in PHRASES if any("\u4e00" <= sign <= "\u9fff" for sign in query)]
    assert len(PHRASES) >= 60
    assert len(chinese) >= 15


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,000", 1000), ("49.90", 49.9), ("1.5k", 1500), ("五十", 50), ("十五", 15), ("一百二十", 120), ("一百二", 120),
     ("两千", 2000), ("一千零五", 1005), ("1万", 10_000), ("一万二", 12_000), ("三百零二", 302), ("", None), ("abc", None),
     ("999999999999999", 999_999_999_999_999), ("999999999999999k", None), ("九千万万万万万万", None)],
)  # fmt: skip
def test_numbers(text: str, number: float | None) -> None:
    assert number_of(text) == number


def test_the_longest_name_wins_and_a_word_inside_a_word_is_none() -> None:
    assert find_names("Running shoes by le  creuset", NAMES).categories == ("Running Shoes",)
    assert find_names("Running shoes by Le Creuset", NAMES).brands == ("Le Creuset",)
    assert find_names("acmeology", NAMES) == find_names("", NAMES)


@pytest.mark.parametrize(
    "query",
    ["", " ", ",", "under", "not", "not not not", "不要", "under under 50 not", "(" * 500, "9" * 1_000, "not " * 250,
     "低于九千万万万万万万", "under 999999999999999k"],
)  # fmt: skip
def test_anything_can_be_interpreted_and_told(query: str) -> None:
    orjson.dumps(interpret(query, NAMES).filter)


@pytest.mark.parametrize(
    "piece", ["0", "9 ", "1.", "0,", "$", "五十", "百", "not ", "under ", "between 1 and ", "0-", "不"]
)
def test_no_query_of_the_longest_length_holds_a_thread(piece: str) -> None:
    """Four times the length may take sixteen times the processor time; what tries two splits of a text at once takes sixty-four times. Growth
    in one run, whatever else the machine does; a hundredth of a second is for what a clock cannot tell apart."""
    short, long = (least_seconds((piece * length)[:length]) for length in (250, 1_000))
    assert long < 40 * short + 0.01


def least_seconds(query: str) -> float:
    """Of this thread, of three tries."""
    taken = []
    for _ in range(3):
        begin = time.thread_time()
        interpret(query, NAMES)
        taken.append(time.thread_time() - begin)
    return min(taken)
