import pytest
from rich.progress import Progress

from app.console import Bar, lines_behind


@pytest.mark.parametrize(
    ("shown", "tail", "new"),
    [
        ([], ["a", "b"], ["a", "b"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["c", "d"], ["d"]),
        (["a", "b"], ["x", "y"], ["x", "y"]),
        (["a", "a"], ["a", "a", "a"], ["a"]),
    ],
)
def test_lines_are_shown_once(shown: list[str], tail: list[str], new: list[str]) -> None:
    assert list(lines_behind(shown, tail)) == new


def test_the_time_left_is_that_of_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("app.console.time.monotonic", lambda: now[0])
    with Progress(disable=True) as progress:
        bar = Bar(progress)
        bar.report("train", 0.0)
        now[0] = 130.0
        bar.report("train", 0.75)
        assert progress.tasks[0].description == "train, 10 s left"
        bar.report("judge", 0.5)
        assert progress.tasks[0].description == "judge"
