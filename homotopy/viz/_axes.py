"""What every picture shares: its Axes and its colours."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

# Colour-blind safe (Okabe–Ito). ε = 1 is warm and ε = 0 is cool in every figure.
FULL = "#D55E00"
RETAINED = "#0072B2"
INK = "#222222"
MUTED = "#8A8A8A"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", INK)


def axes(ax: Axes | None) -> Axes:
    """The caller's Axes, or those of a new figure."""
    return plt.subplots(figsize=(6.0, 4.0), layout="constrained")[1] if ax is None else ax
