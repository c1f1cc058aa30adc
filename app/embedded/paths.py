"""Where an embedded server's socket goes, and who may reach its files."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from pathlib import Path

from app.errors import BadSettings

MAX_SOCKET_BYTES = 100  # sun_path holds 108; ".s.PGSQL.5432.lock" and its like must fit beside the socket
log = logging.getLogger(__name__)


def socket_directory(data_dir: Path, name: str, uid: int) -> Path:
    """A private directory of user `uid`, short enough for a unix socket: inside `data_dir`, or else under the temp dir.

    Raises BadSettings when somebody else holds the place in the temp dir.
    """
    inside = data_dir / "run" / name
    if len(os.fsencode(inside)) + len("/.s.PGSQL.5432.lock") <= MAX_SOCKET_BYTES:
        return own_directory(inside, uid)
    digest = hashlib.sha256(os.fsencode(inside) + str(os.geteuid()).encode()).hexdigest()[:16]
    return own_directory(Path(tempfile.gettempdir()) / f"duoscene-{digest}", uid)


def own_directory(path: Path, uid: int) -> Path:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), uid):
        raise BadSettings(f"{path} belongs to somebody else; remove it or choose another DUOSCENE_DATA_DIR")
    if found.st_uid != uid:
        os.chown(path, uid, -1)
    path.chmod(0o700)
    return path


def let_pass(path: Path) -> None:
    """As root: let any user walk down to `path` (search permission only), because PostgreSQL refuses to run as root."""
    for directory in (path, *path.parents):
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            log.warning(
                "adding the search permission (o+x) to %s, so that PostgreSQL can run as another user", directory
            )
            directory.chmod(mode | stat.S_IXOTH)


def let_read(root: Path) -> None:
    """As root: make an installed tree readable to any user where the umask at its installation forbade that."""
    for directory, _, files in os.walk(root):
        for path in (Path(directory), *(Path(directory, name) for name in files)):
            mode = path.stat().st_mode
            wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
            if wanted != mode:
                path.chmod(wanted)
