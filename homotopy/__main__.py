"""The program: the command `homotopy`, and `python -m homotopy`."""

import os
import signal
import sys


def program() -> int:
    """The command line, also when it is interrupted before it is there to say so itself."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a job in the background of a script; see `Interruptible`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        from homotopy.run import main
    except KeyboardInterrupt:
        print("homotopy: error: interrupted", file=sys.stderr, flush=True)
        os._exit(1)
    return main()


if __name__ == "__main__":
    raise SystemExit(program())
