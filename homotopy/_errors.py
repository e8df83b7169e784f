"""The two ways in which something can go wrong, told apart by who can mend it.

`RequestError`: the request was wrong (command line: exit code 2). Raised before any work starts;
the message is one line that says what is wrong and what would be right.
`WorkError`: the request was right and the work failed (exit code 1); the message says what to try.
"""


class RequestError(ValueError):
    """What was asked for cannot be done as asked; the message says what would be right."""


class WorkError(RuntimeError):
    """The computation failed (divergence, step limit, no convergence); the message says what to try."""
