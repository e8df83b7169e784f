"""The two ways in which something can go wrong, told apart by who can mend it.

`RequestError`: the request was wrong (command line: exit code 2). Raised before any work starts;
the message is one line that says what is wrong and what would be right.
`WorkError`: the request was right and the work failed (exit code 1); the message says what to try.
"""


class RequestError(ValueError):
    """What was asked for cannot be done as asked; the message says what would be right.

    Command line: exit code 2.

    Example (continues the package's):

        >>> try:
        ...     problem.deleting(20)
        ... except RequestError as error:
        ...     print(error)
        delete must lie in 0…19 (the data set has 20 points), but names 20
    """


class WorkError(RuntimeError):
    """The computation failed (divergence, step limit, no convergence); the message says what to try.

    Command line: exit code 1.

    Example (continues the package's):

        >>> separable = Problem(LogisticRegression(), Dataset(data.x, data.x[:, 0] > 0), delete=3)
        >>> try:
        ...     optimum(separable)
        ... except WorkError as error:
        ...     print(str(error)[:41])
        the classes are separable by a hyperplane
    """
