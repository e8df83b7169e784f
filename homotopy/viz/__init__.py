"""Figures: one function per kind of picture, drawn onto an Axes that the caller may pass."""

from ._animation import animate_phase as animate_phase
from ._axes import (
    FULL as FULL,
    INK as INK,
    MUTED as MUTED,
    RETAINED as RETAINED,
    SERIES as SERIES,
    figure_of as figure_of,
    panels as panels,
)
from ._control import plot_control as plot_control
from ._diagnostics import plot_leverage as plot_leverage
from ._gains import plot_gains as plot_gains
from ._phase import (
    Plane as Plane,
    bounds_of as bounds_of,
    landmark_handles as landmark_handles,
    phase_plane as phase_plane,
    plot_curve as plot_curve,
    plot_field as plot_field,
    plot_landmarks as plot_landmarks,
    plot_levels as plot_levels,
    plot_trajectory as plot_trajectory,
)
from ._schedule import plot_schedule as plot_schedule
from ._statistics import (
    legend_below as legend_below,
    plot_band as plot_band,
    plot_bars as plot_bars,
    plot_exceedance as plot_exceedance,
    plot_interval as plot_interval,
    plot_stacked as plot_stacked,
)
from ._surface import (
    new_3d as new_3d,
    plot_distance as plot_distance,
    plot_surface as plot_surface,
    principal_coordinate as principal_coordinate,
)
