import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.cursors import cut_page, decode_cursor, encode_cursor, page_of
from app.errors import Invalid


@given(st.text(min_size=1).filter(lambda text: "\x00" not in text))
def test_a_cursor_comes_back_as_its_id(last_id: str) -> None:
    assert decode_cursor(encode_cursor(last_id)) == last_id


@pytest.mark.parametrize("bad", ["!!", "abc", "é", "MTp", "MTr_", "MjphYmM", "MToA", "a" * 2_000])
def test_anything_else_is_refused(bad: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode_cursor(bad)
    assert (caught.value.code, caught.value.loc) == ("bad_cursor", ("cursor",))


def test_a_page_says_whether_there_is_more() -> None:
    assert cut_page(["a", "b"], 2, str) == (["a", "b"], None)
    assert cut_page(["a", "b", "c"], 2, str) == (["a", "b"], encode_cursor("b"))


def test_pages_of_a_short_listing_repeat_and_lose_nothing() -> None:
    names = ["d", "b", "a", "e", "c"]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = page_of(names, 2, cursor, str)
        seen += page
        if cursor is None:
            break
    assert seen == ["a", "b", "c", "d", "e"]
