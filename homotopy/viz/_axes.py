"""What every picture shares: its Axes and its colours."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._errors import RequestError

# Colour-blind safe (Okabe–Ito). ε = 1 is warm and ε = 0 is cool in every figure.
FULL = "#D55E00"
RETAINED = "#0072B2"
INK = "#222222"
MUTED = "#8A8A8A"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", INK)


def axes(ax: Axes | None) -> Axes:
    """The caller's Axes, or those of a new figure."""
    return plt.subplots(figsize=(6.0, 4.0), layout="constrained")[1] if ax is None else ax


def panels(
    rows: int, columns: int, *, width: float = 4.2, height: float = 4.0, **options: Any
) -> tuple[Figure, np.ndarray]:
    """A figure and its `rows` × `columns` Axes, each about `width` × `height` inches; `options` are those of `subplots`."""
    size = (width * columns, height * rows)
    return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)


def figure_of(ax: Axes) -> Figure:
    """The whole figure that `ax` belongs to."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise RequestError("these Axes were removed from their figure")
    return figure
