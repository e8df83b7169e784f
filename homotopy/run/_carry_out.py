"""Work in, one finished run folder out; or one error, and no trace on disk."""

import errno
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .._errors import WorkError
from . import _provenance
from ._clock import waited
from ._folder import Staging
from ._interrupt import Interruptible
from ._manifest import write_manifest
from ._progress import Progress
from ._result import RunResult
from ._save import plain_style, save


def carry_out(out: str, fields: Mapping[str, Any], work: Callable[[Progress], Any]) -> None:
    """Do `work` beside the folder `out`, put that in place, and print what was found.

    `fields` opens the manifest: the command, its settings, its seed. `work` gives back a `RunResult`.
    """
    bad = _provenance.KNOWN_BAD_JAX.get(_provenance.versions()["jax"] or "")
    if bad:
        print(f"homotopy: warning: do not trust this JAX version, {bad}; see `homotopy doctor`", file=sys.stderr)
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
            started = datetime.now(UTC) - timedelta(seconds=waited())
            provenance = _provenance.collect()  # now: a checkout may change while the work goes on
            result = work(progress)
            if not isinstance(result, RunResult):
                raise WorkError(f"the work must give back a RunResult, but gave {type(result).__name__}")
            try:
                save(result, staging.folder, progress)
                write_manifest(
                    staging.folder,
                    {
                        **fields,
                        "datasets": [_provenance.describe_dataset(data) for data in result.datasets],
                        "result_codes": dict(result.result_codes),
                        "summary": result.summary,
                        "started": started.isoformat(timespec="seconds"),
                        "wall_seconds": round(waited(), 3),
                        **provenance,
                    },
                )
                names = sorted(path.name for path in staging.folder.iterdir())
                with guard.shielded():
                    staging.publish()
            except OSError as error:
                where = f" ({error.filename})" if error.filename else ""
                advice = "; free some space there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
                reason = error.strerror or error
                raise WorkError(f"the results cannot be written to {out}: {reason}{where}{advice}") from error
        except BaseException as error:
            guard.reacted()
            progress.close()
            staging.discard()
            if guard.interrupted or isinstance(error, KeyboardInterrupt):
                raise WorkError(what_remains()) from None
            raise
    print(result.summary.rstrip())
    if set(result.result_codes) - {"successful"}:
        print("solves: " + ", ".join(f"{count} {code}" for code, count in result.result_codes.items()))
    print(f"wrote {out} in {waited():.1f} s: {', '.join(names)}")
