"""MovieLens as GroupLens publishes it: ml-100k (`u.data`, `u.item`, `u.user`) and ml-1m (`ratings.dat`, `movies.dat`, `users.dat`)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from app.catalogue.readers.conform import conform
from app.catalogue.readers.duoscene import rows_for_ids
from app.catalogue.readers.raw_shop import RawShop, Unreadable
from app.catalogue.readers.table import read_delimited
from app.catalogue.shop_data import ShopData
from app.errors import BadData
from app.types import Progress, no_progress

_RATING_COLUMNS = ["user_id", "item_id", "value", "timestamp"]
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
# Codes 0 to 20 of users.dat, from the README of ml-1m.
_OCCUPATIONS = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service",
    "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer", "retired",
    "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip


def is_movielens(folder: Path) -> bool:
    return (folder / "u.data").is_file() or (folder / "ratings.dat").is_file()


def read_movielens(folder: Path, progress: Progress = no_progress) -> RawShop:
    """Ratings as events of type `rating`, genres as tags, the first genre as category. Raises BadData.

    Movies and users files may be missing: one bare row for each id then.
    """
    if (folder / "u.data").is_file():
        return _join(folder, "u.data", "\t", _items_100k(folder / "u.item"), _users_100k(folder / "u.user"), progress)
    if (folder / "ratings.dat").is_file():
        return _join(
            folder, "ratings.dat", "::", _items_1m(folder / "movies.dat"), _users_1m(folder / "users.dat"), progress
        )
    raise BadData(f"{folder.name}: neither u.data nor ratings.dat in this folder")


def _join(
    folder: Path,
    ratings: str,
    separator: str,
    items: pl.DataFrame | None,
    users: pl.DataFrame | None,
    progress: Progress,
) -> RawShop:
    frame = read_delimited(folder / ratings, separator=separator, columns=_RATING_COLUMNS, quote=None)
    if frame["timestamp"].null_count() == len(frame):
        raise BadData(f"{ratings}: expected {', '.join(_RATING_COLUMNS)}, separated by {separator!r}")
    events, unreadable = conform(frame.with_columns(event=pl.lit("rating")), "events", ratings)
    progress("reading", 0.7, f"{ratings}: {len(events):,} ratings")
    tables: dict[str, pl.DataFrame] = {}
    problems: list[Unreadable] = [*unreadable]
    for table, key, rows in (("items", "item_id", items), ("users", "user_id", users)):
        if rows is None:
            tables[table] = rows_for_ids(events[key], table)
        else:
            tables[table], found = conform(rows, table, f"{table} of {folder.name}")
            problems += found
    progress("reading", 1.0, f"{len(tables['items']):,} movies, {len(tables['users']):,} users")
    return RawShop(ShopData(tables["items"], tables["users"], events), "movielens", tuple(problems))


def _items_100k(path: Path) -> pl.DataFrame | None:
    if not path.is_file():
        return None
    names = ["item_id", "title", "created_at", "video_date", "imdb_url", *_GENRES]
    frame = read_delimited(path, separator="|", columns=names, quote=None)
    flagged = [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in _GENRES if genre != "unknown"]
    return frame.select(
        "item_id",
        pl.col("title").str.strip_chars(),
        "created_at",
        pl.concat_list(flagged).list.drop_nulls().alias("tags"),
        _year(),
        "imdb_url",
    ).with_columns(category=pl.col("tags").list.slice(0, 1))


def _users_100k(path: Path) -> pl.DataFrame | None:
    columns = ["user_id", "age", "gender", "occupation", "zip_code"]
    return read_delimited(path, separator="|", columns=columns, quote=None) if path.is_file() else None


def _items_1m(path: Path) -> pl.DataFrame | None:
    if not path.is_file():
        return None
    frame = read_delimited(path, separator="::", columns=["item_id", "title", "genres"], quote=None)
    tags = pl.col("genres").str.split("|")
    return frame.select("item_id", "title", tags.alias("tags"), _year(), category=tags.list.slice(0, 1))


def _users_1m(path: Path) -> pl.DataFrame | None:
    if not path.is_file():
        return None
    columns = ["user_id", "gender", "age", "occupation", "zip_code"]
    frame = read_delimited(path, separator="::", columns=columns, quote=None)
    codes = {str(code): label for code, label in enumerate(_OCCUPATIONS)}
    return frame.with_columns(pl.col("occupation").replace(codes))


def _year() -> pl.Expr:
    return pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int32).alias("year")
