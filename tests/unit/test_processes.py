from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from app.processes import Child, describe_exit

SAY_PID = "import os; print('pid', os.getpid());"
WAIT = "import signal; signal.pause()"


class Lines:
    """What children print, waited for line by line."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue()

    def __call__(self, line: str) -> None:
        self._lines.put(line)

    def next(self, seconds: float = 10.0) -> str:
        return self._lines.get(timeout=seconds)

    def next_pid(self) -> int:
        return int(self.next().removeprefix("pid "))


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def child(lines: Lines) -> Iterator[Child]:
    child = Child("sleeper", ["-c", SAY_PID + WAIT], lines)
    child.start()
    yield child
    child.stop(5.0)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_child_starts_again(child: Child, lines: Lines) -> None:
    first = lines.next_pid()
    os.kill(first, signal.SIGKILL)
    assert lines.next() == "sleeper ended (signal SIGKILL); it starts again in 1 s"
    assert lines.next_pid() != first
    assert child.num_exits == 1


def test_stop_ends_the_child_and_does_not_restart_it(child: Child, lines: Lines) -> None:
    pid = lines.next_pid()
    child.stop(5.0)
    assert not is_alive(pid)
    assert child.num_exits == 1
    child.stop(5.0)


def test_a_child_that_ignores_sigterm_is_killed(lines: Lines) -> None:
    stubborn = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SAY_PID + "\nwhile True: signal.pause()"
    )
    child = Child("stubborn", ["-c", stubborn], lines)
    child.start()
    pid = lines.next_pid()
    child.stop(0.5)
    assert not is_alive(pid)


def test_what_a_dead_child_leaves_behind_is_killed(lines: Lines) -> None:
    """A supervisor that is killed leaves workers that hold the port and its output open."""
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SAY_PID + WAIT!r}]); " + WAIT
    child = Child("supervisor", ["-c", parent], lines)
    child.start()
    orphan = lines.next_pid()
    assert child._process is not None
    os.kill(child._process.pid, signal.SIGKILL)
    assert "signal SIGKILL" in lines.next()
    child.stop(5.0)
    assert not is_alive(orphan) or wait_gone(orphan)


def wait_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline and is_alive(pid):
        time.sleep(0.01)
    return not is_alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is a signal on Linux only")
def test_children_die_with_a_killed_parent() -> None:
    program = (
        "import sys, time\n"
        "from app.processes import Child\n"
        f"Child('inner', ['-c', {SAY_PID + WAIT!r}], lambda line: print(line, flush=True)).start()\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    inner = int(parent.stdout.readline().removeprefix("pid "))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_gone(inner)


def test_an_endless_line_is_passed_on_in_pieces(lines: Lines) -> None:
    child = Child("talker", ["-c", "print('x' * 100_000); " + WAIT], lines)
    child.start()
    assert len(lines.next()) + len(lines.next()) == 100_000
    child.stop(5.0)


@pytest.mark.parametrize(("code", "words"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal SIGKILL")])
def test_describe_exit(code: int, words: str) -> None:
    assert describe_exit(code) == words
