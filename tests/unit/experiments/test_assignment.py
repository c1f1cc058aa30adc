"""Who sees what: by the shares, for ever the same, and in one test without regard to another."""

from collections import Counter

import pytest

from app.experiments.assignment import assigned
from app.experiments.experiment import Experiment, Variant

USERS = [f"u{n}" for n in range(20_000)]


def make(name: str = "test", **shares: float) -> Experiment:
    return Experiment(name, "home", tuple(Variant(variant, share) for variant, share in shares.items()))


def seen(experiment: Experiment) -> dict[str, str | None]:
    found = {user: assigned(experiment, user, None) for user in USERS}
    return {user: variant and variant.name for user, variant in found.items()}


def test_shares_are_kept_and_the_rest_sees_the_scenario_as_it_is() -> None:
    counts = Counter(seen(make(a=0.5, b=0.2, c=0.05)).values())
    for name, share in (("a", 0.5), ("b", 0.2), ("c", 0.05), (None, 0.25)):
        error = (share * (1 - share) / len(USERS)) ** 0.5
        assert abs(counts[name] / len(USERS) - share) < 4 * error


def test_everybody_is_in_where_thirds_do_not_add_up() -> None:
    assert None not in seen(make(a=1 / 3, b=1 / 3, c=1 / 3)).values()


@pytest.mark.parametrize(("user_id", "session_id", "variant"), [("u1", None, "b"), ("u2", "x", "b"), (None, "s4", "a")])
def test_no_release_may_move_a_shopper(user_id: str | None, session_id: str | None, variant: str) -> None:
    found = assigned(make(a=0.5, b=0.5), user_id, session_id)
    assert found is not None
    assert found.name == variant


def test_a_user_is_the_same_in_every_session_and_a_stranger_is_in_no_test() -> None:
    experiment = make(a=0.5, b=0.5)
    anna, nobody = ([assigned(experiment, user, f"s{n}") for n in range(20)] for user in ("anna", None))
    assert all(variant == anna[0] for variant in anna)
    assert any(variant != nobody[0] for variant in nobody)
    assert assigned(experiment, None, None) is None


def test_whoever_was_together_in_one_test_is_not_in_the_next() -> None:
    first, second = seen(make("first", a=0.5, b=0.5)), seen(make("second", a=0.5, b=0.5))
    counts = Counter((first[user], second[user]) for user in USERS)
    assert all(abs(count / len(USERS) - 0.25) < 0.015 for count in counts.values())


def test_when_the_last_share_grows_nobody_changes_sides() -> None:
    before, after = seen(make(a=0.1, b=0.1)), seen(make(a=0.1, b=0.6))
    assert all(after[user] == variant for user, variant in before.items() if variant is not None)
    assert Counter(after.values())["b"] > 4 * Counter(before.values())["b"]
