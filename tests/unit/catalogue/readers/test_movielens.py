from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from app.catalogue.loading import detect_format, read_shop_data
from app.errors import BadData

ML_100K = Path(__file__).resolve().parents[4].parent / "shared" / "data" / "ml-100k"


@pytest.fixture
def ml_1m(tmp_path: Path) -> Path:
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n2::1::3::978302109\n")
    (tmp_path / "movies.dat").write_bytes(
        '1::Cité des "enfants", La (1995)::Drama|Sci-Fi\n1193::Fly (1975)::\n'.encode("latin-1")
    )
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    return tmp_path


def test_double_colon_form(ml_1m: Path) -> None:
    assert detect_format(ml_1m) == "movielens"
    data = read_shop_data(ml_1m)
    movie, other = data.items.to_dicts()
    assert (movie["title"], movie["category"], movie["tags"]) == (
        'Cité des "enfants", La (1995)',
        ["Drama"],
        ["Drama", "Sci-Fi"],
    )
    assert movie["attributes"] == '{"year":1995}'
    assert (other["category"], other["tags"]) == ([], [])
    assert data.users.select("age", "gender", "occupation").rows() == [
        (1, "F", "K-12 student"),
        (56, "M", "self-employed"),
    ]
    assert data.events.select("user_id", "item_id", "type", "value").rows() == [
        ("1", "1193", "rating", 5.0),
        ("2", "1", "rating", 3.0),
    ]
    assert data.events["occurred_at"][0] == datetime(2000, 12, 31, 22, 12, 40, tzinfo=UTC)


def test_ratings_alone_give_bare_movies_and_users(ml_1m: Path) -> None:
    (ml_1m / "movies.dat").unlink()
    (ml_1m / "users.dat").unlink()
    data = read_shop_data(ml_1m)
    assert data.items["item_id"].to_list() == ["1193", "1"]
    assert data.users["user_id"].to_list() == ["1", "2"]


def test_another_separator_is_refused(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("196,242,3,881250949\n186,302,3,891717742\n")
    with pytest.raises(BadData, match=r"u\.data: expected user_id, item_id, value, timestamp"):
        read_shop_data(tmp_path)


@pytest.mark.skipif(not (ML_100K / "raw").is_dir(), reason=f"public data set ml-100k not found at {ML_100K}")
def test_owners_form_equals_the_converted_set() -> None:
    converted, raw = read_shop_data(ML_100K), read_shop_data(ML_100K / "raw")
    assert raw.items.sort("item_id").equals(converted.items.sort("item_id"))
    assert raw.users.sort("user_id").equals(converted.users.sort("user_id"))
    key = [pl.col("user_id"), pl.col("item_id")]
    assert raw.events.sort(key).equals(converted.events.sort(key))
