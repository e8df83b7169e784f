"""Run folders that are either whole or not there.

A run is written into a hidden sibling of its folder and renamed into place when it is complete:

    runs/.NAME.partial-PID   being written      → removed on failure; swept up later if the process was killed
    runs/.NAME.old-PID       the run before, for the instant between two renames → put back if it was killed there
    runs/NAME                finished

Nothing that `homotopy` did not write is ever removed.
"""

import os
import re
import shutil
from pathlib import Path

from .._errors import RequestError, WorkError
from ._manifest import NAME as MANIFEST, read_manifest

# What file browsers leave behind is nobody's work.
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}


def check_replaceable(folder: Path, shown: str) -> None:
    """`RequestError` unless `folder` is absent, empty, or a finished run to which nobody added a file."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise RequestError(f"{shown} is a file; --out must name a folder")
    if os.path.ismount(folder):
        raise RequestError(f"{shown} is a mount point, which cannot be replaced; --out must name a folder inside it")
    present = {path.name for path in folder.iterdir()} - _LITTER
    if not present:
        return
    if MANIFEST not in present:
        raise RequestError(f"{shown} is not empty and holds no finished run; --out must name another folder")
    try:
        written = {MANIFEST, *read_manifest(folder)["files"]}
    except RequestError as error:
        raise RequestError(f"{error}; --out must name another folder") from None
    # No run writes folders or links: one under a listed name is somebody else's.
    added = sorted(name for name in present if name not in written or not _is_plain_file(folder / name))
    if added:
        raise RequestError(f"{shown} holds `{added[0]}`, which no run wrote; move it, or choose another --out")


class Staging:
    """A folder to write a run into: `prepare()` makes it, `publish()` puts it in place, `discard()` leaves no trace."""

    def __init__(self, out: str) -> None:
        if not out.strip():
            raise RequestError("--out is empty; it must name a folder")
        try:
            # A link to a folder stays a link: the renames happen where it points.
            self._target, here = Path(out).expanduser().resolve(), Path.cwd()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown ~user, a null character
            raise RequestError(f"cannot write to {out}: {error}; --out must name a folder") from None
        if here.is_relative_to(self._target):
            raise RequestError(f"{out} is, or contains, the current folder; --out must name another one")
        self._shown = out
        self._made: list[Path] = []  # parents that did not exist, innermost last
        self.folder = self._sibling("partial")
        self.replaces = False

    def prepare(self) -> None:
        """Check that the run can be written, and make `folder`; `RequestError` if not, before any work."""
        try:
            if self._target.parent.is_dir():
                sweep(self._target)
            check_replaceable(self._target, self._shown)
            self.replaces = self._target.is_dir() and any(self._target.iterdir())
            for parent in reversed(self._target.parents):
                if not parent.exists():
                    parent.mkdir()
                    self._made.append(parent)
            self.folder.mkdir()
            (self.folder / "probe").write_bytes(b"1")
            (self.folder / "probe").unlink()
        except OSError as error:
            raise RequestError(
                f"cannot write to {self._shown}: {error.strerror or error}; --out must name a writable folder"
            ) from None

    def _sibling(self, role: str) -> Path:
        return self._target.with_name(f".{self._target.name}.{role}-{os.getpid()}")

    def publish(self) -> None:
        """Put the finished folder in place of whatever run was there. The caller holds signals off meanwhile."""
        try:
            check_replaceable(self._target, self._shown)  # again: a run may take hours
        except RequestError as error:
            raise WorkError(f"the run finished but cannot be put in place: {error}") from None
        for path in (*self.folder.iterdir(), self.folder):
            _flush(path)
        old = self._sibling("old")
        if self._target.exists():
            self._target.rename(old)
        try:
            self.folder.rename(self._target)
        except BaseException:
            if old.exists():
                old.rename(self._target)
            raise
        _flush(self._target.parent)
        if old.exists():
            # Not removed under its own name: what is called old must be whole, for `sweep` may put it back.
            old.rename(self.folder)
            shutil.rmtree(self.folder, ignore_errors=True)

    def discard(self) -> None:
        """Remove what was written, and parent folders made for it. Never raises: it runs on the way out."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for parent in reversed(self._made):
            try:
                parent.rmdir()
            except OSError:
                return  # somebody else uses it by now


def sweep(target: Path) -> None:
    """Clear away what killed runs of `target` left, and put back a run that one was about to replace."""
    pattern = re.compile(re.escape(f".{target.name}.") + r"(partial|old)-(\d+)")
    for path in list(target.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match is None or _is_running(int(match[2])):
            continue
        if match[1] == "old" and not os.path.lexists(target):
            path.rename(target)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    """Whether another process has this number (our own number on a leftover is a reused one)."""
    if pid == os.getpid():
        return False
    if os.name == "nt":
        return True  # os.kill(pid, 0) would send Ctrl-C there; leftovers stay
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _flush(path: Path) -> None:
    """Ask for `path` to reach the disk, so that a power cut cannot leave a finished name on empty files."""
    if os.name == "nt":
        return  # only files open for writing can be flushed there
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # some network file systems cannot flush folders
            raise
    finally:
        os.close(handle)
