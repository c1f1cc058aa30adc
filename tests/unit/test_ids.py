from datetime import UTC, datetime

from ulid import ULID

from app.ids import new_ulids


def test_they_are_different_ulids_of_now() -> None:
    before = datetime.now(UTC).timestamp()
    made = new_ulids(1_000)
    after = datetime.now(UTC).timestamp()
    assert len(set(made)) == 1_000
    for text in made:
        assert str(ULID.from_str(text)) == text
        assert int(before * 1000) <= ULID.from_str(text).milliseconds <= int(after * 1000) + 1


def test_the_random_part_is_all_random() -> None:
    places = list(zip(*(text[10:] for text in new_ulids(2_000)), strict=True))
    assert all(len(set(place)) == 32 for place in places)


def test_none_are_made_of_none() -> None:
    assert new_ulids(0) == []
