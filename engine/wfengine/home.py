"""The home folder: what lies where, files for this user alone, locks between processes, unusable file systems."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from pathlib import Path

from wfengine.errors import DiskFullError, StateError

#: File systems on which a lock or shared memory of one machine is not seen by another, so that state would be lost.
NETWORK = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.davfs", "fuse.davfs2",
        "fuse.gcsfuse", "fuse.glusterfs", "fuse.mount-s3", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs",
        "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb", "smb2", "smb3", "smbfs",
    }
)  # fmt: skip


def run_folder(home: Path, run_id: int) -> Path:
    """Return the folder of one run."""
    return Path(home, "runs", str(run_id))


def event_folder(home: Path, stream: int) -> Path:
    """Return the folder for the log of a stream of events: a run by its id, or a job by its id made negative."""
    return run_folder(home, stream) if stream >= 0 else home / "jobs" / str(-stream)


def attempt_folder(home: Path, run_id: int, task_key: str, attempt_number: int, iteration: int = -1) -> Path:
    """Return the folder of one attempt: its log, its scratch folder, its artifacts."""
    return run_folder(home, run_id) / attempt_place(task_key, iteration, attempt_number)


def attempt_place(task_key: str, iteration: int, attempt_number: int) -> str:
    """Return where in its run's folder an attempt has its own; ``iteration`` is -1 for the task itself."""
    inner = f"iterations/{iteration}/" if iteration >= 0 else ""
    return f"tasks/{task_key}/{inner}{attempt_number}"


def private_folder(path: Path) -> Path:
    """Make ``path`` and its missing parents for this user alone, whatever the umask; return ``path``.

    A folder that exists is left as it is. Raises StateError when it cannot be made or is no folder.
    """
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)
        if not path.is_dir():
            raise StateError(f"{path} is a file, not a folder: name another home")
    except OSError as error:
        message = f"cannot make the folder {path}: {error.strerror or error}; name another home"
        raise state_error(message, error) from error
    return path


def state_error(message: str, error: OSError) -> StateError:
    """Return what to raise for a failed access to the home: a DiskFullError when there was no space."""
    return DiskFullError(message) if error.errno in (errno.ENOSPC, errno.EDQUOT) else StateError(message)


def open_private(path: Path, flags: int) -> int:
    """Open a file, made for this user alone whatever the umask; return a descriptor that children do not inherit."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def filesystem_type(mountinfo: str, path: Path) -> str:
    """Return the type of the file system that holds the absolute ``path``, as ``/proc/self/mountinfo`` tells it.

    Empty when no mount point holds it.
    """
    found, depth = "", -1
    for line in mountinfo.splitlines():
        mount, separator, source = line.partition(" - ")
        fields = mount.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        # The later of two mounts on one point hides the earlier.
        if path.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = source.split(" ")[0], len(point.parts)
    return found


def refuse_network(home: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> None:
    """Raise StateError when ``home`` lies on a network file system; where that cannot be known, let it be."""
    try:
        mounts = mountinfo.read_text(errors="surrogateescape")
    except OSError:
        return  # not Linux
    kind = filesystem_type(mounts, home.resolve())
    if kind in NETWORK:
        raise StateError(
            f"{home} lies on a network file system ({kind}), where locks do not hold: put the home on a local disk "
            "with --home or WFENGINE_HOME"
        )


class FileLock:
    """A lock between processes; the kernel drops it when its holder dies, however that happens."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> FileLock | None:
        """Lock the file ``path``, made when missing; None when a live process holds it. Raises OSError."""
        descriptor = open_private(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    @classmethod
    def wait(cls, folder: Path) -> FileLock:
        """Lock a folder itself, waiting for its holder. Raises OSError."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        """Give the lock up; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
