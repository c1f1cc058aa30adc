"""Names and values of a query, as Starlette reads them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from app.api.query_string import query_pairs

QUERIES = st.text(st.sampled_from("ab=&%+;é 2F0"), max_size=20)


@given(QUERIES)
@example("a=1&&b")
@example("=&=b&a==")
@example("a=%2F+&b=%")
def test_it_is_read_as_starlette_reads_it(text: str) -> None:
    query = text.encode("latin-1")
    assert query_pairs({"query_string": query}) == QueryParams(query).multi_items()


def test_it_is_read_once() -> None:
    scope = {"query_string": b"a=1"}
    assert query_pairs(scope) is query_pairs(scope)
