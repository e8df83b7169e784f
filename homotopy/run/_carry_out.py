"""Work in, one finished run folder out; or one error, and no trace on disk.

The numbers are saved first and read back; figures, tables and words are made from what was read. So `homotopy draw`
makes the same ones again, and a figure that cannot be drawn costs no numbers.
"""

import errno
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._errors import WorkError
from .._progress import Progress
from . import _provenance
from ._clock import waited
from ._folder import Staging
from ._interrupt import Interruptible
from ._manifest import write_manifest
from ._parts import drawn, tabulated
from ._record import codes_of, datasets_of
from ._save import plain_style, read_data, save_data, save_picture, save_table

if TYPE_CHECKING:
    import xarray

DATA = "data.nc"


def carry_out(
    out: str,
    fields: Mapping[str, Any],
    compute: Callable[[Progress], "xarray.Dataset"],
    module: ModuleType,
    settings: Any,
) -> None:
    """`compute` beside the folder `out`, draw and tell, put all of it in place, and print what was found.

    `fields` opens the manifest: the command, its settings, its seed.
    """
    bad = _provenance.KNOWN_BAD_JAX.get(_provenance.versions()["jax"] or "")
    if bad:
        print(f"homotopy: warning: do not trust this JAX version, {bad}; see `homotopy doctor`", file=sys.stderr)
    with publishing(out) as (folder, progress):
        started = datetime.now(UTC) - timedelta(seconds=waited())
        provenance = _provenance.collect()  # now: a checkout may change while the work goes on
        data = compute(progress)
        if type(data).__name__ != "Dataset":
            raise WorkError(f"`compute` must give back an xarray.Dataset, but gave {type(data).__name__}")
        with written(out):
            save_data(data, folder / DATA)
            data = read_data(folder / DATA)
            summary, failure = picture(folder, module, data, settings, progress)
            codes = codes_of(data)
            content = {
                **fields,
                "datasets": datasets_of(data),
                "result_codes": codes,
                "summary": summary,
                "started": started.isoformat(timespec="seconds"),
                "wall_seconds": round(waited(), 3),
                **provenance,
            }
            write_manifest(folder, content)
    if summary:
        print(summary)
    if set(codes) - {"successful"}:
        print("solves: " + ", ".join(f"{count} {code}" for code, count in codes.items()))
    wrote(out)
    if failure is not None:
        raise WorkError(
            f"the numbers are in {out}/{DATA}, but what is made from them failed: {type(failure).__name__}: {failure}; "
            f"`homotopy draw {out}` tries again"
        ) from failure


def picture(
    folder: Path, module: ModuleType, data: "xarray.Dataset", settings: Any, progress: Progress
) -> tuple[str, Exception | None]:
    """Figures, animations and tables of `data` into `folder`; what is to be told, and what went wrong in making them."""
    summary = ""
    try:
        summary = module.tell(data, settings).rstrip()
        pictures, tables = drawn(module, data, settings), tabulated(module, data, settings)
    except Exception as error:  # of whatever kind: the numbers are there
        return summary, error
    with progress.task("writing", total=len(pictures) + len(tables)) as advance:
        try:
            for stem, drawing in pictures.items():
                save_picture(drawing, folder, stem)
                advance()
            for stem, columns in tables.items():
                save_table(columns, folder / f"{stem}.csv")
                advance()
        except OSError:  # the disk's
            raise
        except Exception as error:
            return summary, error
    return summary, None


def wrote(out: str) -> None:
    """Say which files are in `out` now."""
    names = sorted(path.name for path in Path(out).expanduser().iterdir())
    print(f"wrote {out} in {waited():.1f} s: {', '.join(names)}")


@contextmanager
def publishing(out: str) -> Iterator[tuple[Path, Progress]]:
    """A folder to write a run into, which takes the place of `out` when the block ends well, and leaves no trace if not."""
    staging, progress = Staging(out), Progress()

    def what_remains() -> str:
        kept = "; the earlier run there is untouched" if staging.replaces else ""
        return f"interrupted: nothing was written to {out}{kept}"

    def abandon() -> None:
        progress.close()
        staging.discard()
        print(f"homotopy: error: {what_remains()}", file=sys.stderr, flush=True)

    with Interruptible(abandon) as guard, plain_style():
        try:
            staging.prepare()
            yield staging.folder, progress
            with guard.shielded(), written(out):
                staging.publish()
        except BaseException as error:
            guard.reacted()
            progress.close()
            staging.discard()
            if guard.interrupted or isinstance(error, KeyboardInterrupt):
                raise WorkError(what_remains()) from None
            raise


@contextmanager
def written(out: str) -> Iterator[None]:
    """Inside, a file that cannot be written is a one-line `WorkError` about the folder `out`."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        advice = "; free some space there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        reason = error.strerror or error
        raise WorkError(f"the results cannot be written to {out}: {reason}{where}{advice}") from error
