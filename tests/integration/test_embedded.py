"""The embedded servers start, resume, survive a killed owner, fit any path, and are stopped by the last who leaves."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import redis

from app.embedded import EmbeddedStores, start_embedded
from app.embedded.postgres import is_alive
from app.errors import BadSettings

KILLED_OWNER = """
import os, signal, sys
from pathlib import Path
from app.embedded import start_embedded
start_embedded(Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""

NOBODY = 65534
NORMAL_USER = f"""
import os, sys
from pathlib import Path
from app.embedded import start_embedded
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
start_embedded(Path(sys.argv[1])).close()
"""

GUEST = """
import asyncio, sys
from pathlib import Path
import asyncpg
from app.embedded import start_embedded

async def mark(url):
    connection = await asyncpg.connect(url)
    print(await connection.fetchval("SELECT value FROM mark"))
    await connection.close()

with start_embedded(Path(sys.argv[1])) as stores:
    assert stores.postgres.process is None and stores.redis.process is None
    assert stores.is_running()
    asyncio.run(mark(stores.database_url))
"""
ELSEWHERE = ["unshare", "--pid", "--ipc", "--mount-proc", "--fork"]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="duoscene-embedded-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def query(stores: EmbeddedStores, statement: str) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(stores.database_url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def write_mark(stores: EmbeddedStores) -> None:
    query(stores, "CREATE TABLE mark AS SELECT 7 AS value")
    redis.Redis.from_url(stores.redis_url).set("mark", "7")


def assert_mark(stores: EmbeddedStores) -> None:
    assert query(stores, "SELECT value FROM mark") == 7
    assert redis.Redis.from_url(stores.redis_url).get("mark") == b"7"


def pids(stores: EmbeddedStores) -> tuple[int, int]:
    assert stores.postgres is not None
    assert stores.postgres.pid is not None
    assert stores.redis is not None
    return stores.postgres.pid, stores.redis.pid


def kill_owner(data_dir: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_OWNER, str(data_dir)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_data_is_there_after_a_restart_and_the_servers_are_gone_in_between(data_dir: Path) -> None:
    with start_embedded(data_dir) as stores:
        write_mark(stores)
        running = pids(stores)
    assert not any(is_alive(pid) for pid in running)
    with start_embedded(data_dir) as stores:
        assert_mark(stores)


def test_the_servers_of_a_killed_owner_are_taken_over_and_stopped(data_dir: Path) -> None:
    kill_owner(data_dir)
    with start_embedded(data_dir) as stores:
        running = pids(stores)
        assert stores.postgres is not None
        assert stores.postgres.process is None
        write_mark(stores)
        assert_mark(stores)
    assert not any(is_alive(pid) for pid in running)


def test_servers_that_were_killed_are_started_again_with_their_data(data_dir: Path) -> None:
    stores = start_embedded(data_dir)
    write_mark(stores)
    redis.Redis.from_url(stores.redis_url).bgrewriteaof()
    stores.close()
    stores = start_embedded(data_dir)
    for pid in pids(stores):
        os.kill(pid, signal.SIGKILL)
    for server in (stores.postgres, stores.redis):
        assert server is not None
        assert server.process is not None
        server.process.wait()
    again = start_embedded(data_dir)
    assert_mark(again)
    again.close()
    stores.close()
    assert not any(is_alive(pid) for pid in pids(again))


def test_a_recycled_pid_in_the_lock_file_does_not_stop_the_start(data_dir: Path) -> None:
    start_embedded(data_dir).close()
    (data_dir / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{data_dir}\n")
    with start_embedded(data_dir) as stores:
        assert query(stores, "SELECT 1") == 1


def has_namespaces() -> bool:
    return bool(shutil.which("unshare")) and not subprocess.run([*ELSEWHERE, "true"], check=False).returncode


@pytest.mark.skipif(not has_namespaces(), reason="only root can make a namespace of processes")
def test_the_servers_of_another_container_are_shared_and_left_alone(data_dir: Path) -> None:
    with start_embedded(data_dir) as stores:
        write_mark(stores)
        lock_file = (data_dir / "postgres" / "postmaster.pid").read_text()
        done = subprocess.run(
            [*ELSEWHERE, sys.executable, "-c", GUEST, str(data_dir)], check=False, capture_output=True
        )
        assert (done.returncode, done.stdout) == (0, b"7\n"), done.stderr.decode()
        assert (data_dir / "postgres" / "postmaster.pid").read_text() == lock_file
        assert_mark(stores)


def test_a_server_that_nobody_can_see_or_reach_keeps_its_files(data_dir: Path) -> None:
    with start_embedded(data_dir, redis=False) as stores:
        assert stores.postgres is not None
        lock_file, socket = data_dir / "postgres" / "postmaster.pid", stores.postgres.sockets / ".s.PGSQL.5432"
        written = lock_file.read_text()
        lock_file.write_text(f"{os.getpid()}\n{data_dir}\n")
        socket.rename(socket.with_name("hidden"))
        with pytest.raises(BadSettings, match="neither seen nor reached"):
            start_embedded(data_dir, redis=False)
        socket.with_name("hidden").rename(socket)
        lock_file.write_text(written)
        assert query(stores, "SELECT 1") == 1


def test_the_last_to_leave_stops_the_servers(data_dir: Path) -> None:
    first = start_embedded(data_dir)
    second = start_embedded(data_dir)
    assert pids(first) == pids(second)
    first.close()
    assert query(second, "SELECT 1") == 1
    second.close()
    assert not is_alive(pids(second)[0])


def test_a_path_longer_than_a_unix_socket_allows(data_dir: Path) -> None:
    with start_embedded(data_dir / ("long " * 30)) as stores:
        write_mark(stores)
        assert_mark(stores)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_normal_user_can_run_them(data_dir: Path) -> None:
    os.chown(data_dir, NOBODY, NOBODY)
    done = subprocess.run([sys.executable, "-c", NORMAL_USER, str(data_dir)], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert (data_dir / "postgres").stat().st_uid == NOBODY
