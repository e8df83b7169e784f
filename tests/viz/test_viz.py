"""Pictures: that they show the numbers they were given, jumps, failed rows and all."""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from homotopy import (
    BangBang,
    LinearDecay,
    LinearRegression,
    Problem,
    RequestError,
    Step,
    Surface,
    datasets,
    simulate,
    surface,
)
from homotopy.viz import (
    FULL,
    RETAINED,
    animate_phase,
    bounds_of,
    new_3d,
    phase_plane,
    plot_control,
    plot_distance,
    plot_field,
    plot_interval,
    plot_landmarks,
    plot_levels,
    plot_leverage,
    plot_schedule,
    plot_stacked,
    plot_surface,
    plot_trajectory,
    principal_coordinate,
)


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.fixture(scope="module")
def problem():
    return Problem(LinearRegression(), datasets.random_linear(), delete=3)


def test_a_field_that_is_not_in_the_plane_is_refused(problem, ax):
    with pytest.raises(RequestError, match=r"epsilon must be one of 0.0, 1.0, but is 0.5"):
        plot_field(phase_plane(problem, (-1.0, 1.0, -1.0, 1.0), points=3), 0.5, ax)


@pytest.fixture(scope="module")
def homotopy_surface(problem):
    return surface(problem, np.linspace(0, 1, 5), np.zeros(2), ts=[0.0, 0.01, 0.1, 1.0, np.inf])


def test_a_schedule_is_drawn_arc_by_arc_with_its_jumps(ax):
    plot_schedule(BangBang([0.25, 0.5]), 1.0, ax)
    solid = [line for line in ax.lines if line.get_linestyle() == "-"]
    assert [(*line.get_xdata()[[0, -1]], line.get_ydata()[0]) for line in solid] == [
        (0.0, 0.25, 1.0),
        (0.25, 0.5, 0.0),
        (0.5, 1.0, 1.0),
    ]
    assert sum(line.get_linestyle() == ":" for line in ax.lines) == 2


def test_a_continuous_schedule_is_drawn_on_its_own_formula(ax):
    plot_schedule(LinearDecay(0.2, 0.6), 1.0, ax)
    middle = [line for line in ax.lines if line.get_linestyle() == "-"][1]
    np.testing.assert_allclose(middle.get_ydata(), (0.6 - middle.get_xdata()) / 0.4, atol=1e-15)


def test_field_arrows_point_down_the_gradient_and_tell_the_phases_apart(problem, ax):
    bounds = (-1.0, 1.0, -1.0, 1.0)
    plane = phase_plane(problem, bounds, points=3)
    plot_field(plane, 0.0, ax)
    plot_field(plane, 1.0, ax)
    cool, warm = ax.collections
    assert not np.allclose(cool.get_facecolor()[0, :3], warm.get_facecolor()[0, :3])
    down = -np.asarray(problem.gradient(jnp.array([-1.0, -1.0]), 0.0))
    arrow = np.array([cool.U[0], cool.V[0]])
    np.testing.assert_allclose(arrow / np.linalg.norm(arrow), down / np.linalg.norm(down), atol=1e-12)


def test_a_trajectory_carries_its_switch_points(problem, ax):
    schedule = Step(0.05)
    trajectory = simulate(problem, schedule, np.zeros(2), t1=0.2, dense=True)
    plot_trajectory(trajectory, schedule, ax)
    diamond = next(line for line in ax.lines if line.get_marker() == "D")
    np.testing.assert_allclose(np.ravel(diamond.get_data()), trajectory.evaluate(0.05), atol=1e-14)


def test_landmarks_put_the_endpoints_in_the_colours_of_their_phase(ax):
    segment = np.array([[0.0, 0.0], [1.0, 2.0]])
    plot_landmarks(np.array([3.0, 3.0]), segment, ax)
    stars = {line.get_color(): tuple(np.ravel(line.get_data())) for line in ax.lines if line.get_marker() == "*"}
    assert stars == {FULL: (1.0, 2.0), RETAINED: (0.0, 0.0)}


def test_levels_fill_the_bounds(problem, ax):
    bounds = bounds_of([np.array([[0.0, 0.0]]), np.array([[1.0, 2.0]])], margin=0.1)
    assert bounds == (-0.1, 1.1, -0.2, 2.2)
    plot_levels(phase_plane(problem, bounds, points=3), ax)
    assert ax.collections


def test_the_principal_coordinate_follows_what_the_weight_changes(homotopy_surface):
    height, share = principal_coordinate(homotopy_surface)
    assert height.shape == (5, 5)
    assert 0.5 < share <= 1.0
    at = np.asarray(homotopy_surface.thetas[:, 3])
    at = at - at.mean(axis=0)
    spread = np.linalg.svd(at, compute_uv=False)[0]
    assert abs(np.linalg.norm(height[:, 3] - height[:, 3].mean()) - spread) < 0.1 * spread


def test_failed_rows_are_masked_and_not_drawn(homotopy_surface):
    thetas = np.array(homotopy_surface.thetas)
    thetas[2] = np.inf
    failed = Surface(  # a row of inf, as a failed solve leaves it
        homotopy_surface.epsilons, homotopy_surface.ts, jnp.asarray(thetas), {}, {2: "max steps"}, "diffrax", "rodas5p"
    )  # fmt: skip
    height, share = principal_coordinate(failed)
    assert np.isfinite(height[[0, 1, 3, 4]]).all()
    assert 0 < share <= 1
    figure = plt.figure()
    plot_surface(failed, height, new_3d((1, 2, 1), figure), label="height")
    ax = plot_distance(failed, np.zeros(5), figure.add_subplot(1, 2, 2))
    drawn = ax.collections[0].get_array()
    assert drawn.mask[2].all()
    assert not drawn.mask[[0, 1, 3, 4]].any()
    plt.close(figure)


def test_the_animation_is_a_small_gif_with_every_frame(problem, tmp_path):
    from PIL import Image

    schedule, times = Step(0.05), np.linspace(0.0, 0.2, 5)
    trajectory = simulate(problem, schedule, np.zeros(2), t1=0.2, ts=times)
    path, segment = tmp_path / "phase.gif", np.array([[0.0, 0.0], [1.0, 2.0]])
    thetas = np.asarray(trajectory.thetas)
    animate_phase(path, phase_plane(problem, bounds_of([thetas, segment]), points=3), schedule, times, thetas, segment)
    assert path.stat().st_size < 300_000
    with Image.open(path) as image:
        assert image.n_frames == 5


@pytest.mark.parametrize("name", ["a$b$^{", "_hidden", "size, cm", "\u5e74"])
def test_the_names_of_columns_are_drawn_as_they_are(name, tmp_path):
    from homotopy.run._save import save_figure

    ts = np.linspace(0.0, 1.0, 5)
    axs = plot_control(Step(0.5), ts, np.column_stack([ts, ts**2]), ts - 0.5, t1=1.0, names=[name, "plain"])
    labels = [text.get_text() for text in axs[2].get_legend().get_texts()]
    assert [label.strip().replace(r"\$", "$") for label in labels] == [name, "plain"]
    save_figure(axs[0].figure, tmp_path, "control")  # no formula to be read, no warning of a letter that the font lacks


def test_leverage_plot_shows_undefined_rows_and_true_contours(ax):
    rng = np.random.default_rng(0)
    h = np.append(rng.uniform(0.02, 0.4, 50), 1.0)
    t = np.append(rng.standard_normal(50), np.nan)
    t[7] = 4.0
    infinite = np.arange(51) == 9
    plot_leverage(h, t, 3.0, ax, named=[7, 3], infinite=infinite)
    drawn = {line.get_label(): line for line in ax.lines}
    assert len(drawn["points"].get_xdata()) == 49
    assert list(drawn["undefined (0/0)"].get_xdata()) == [1.0]
    assert drawn["θ → ∞ without it"].get_xdata() == h[9]
    x, y = drawn["Cook's distance"].get_data()
    levels = y**2 * x / ((1 - x) * 3.0)
    np.testing.assert_allclose(levels, levels[0], rtol=1e-6)
    said = {text.get_text() for text in ax.texts}
    assert {"7", "3", "9", "50", f"{levels[0]:g}"} <= said
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_stacked_bars_add_up_and_say_what_is_large(ax):
    plot_stacked(["a", "b"], {"one": [0.97, 0.5], "two": [0.03, 0.5]}, ax)
    first, second = ax.containers
    assert [bar.get_y() for bar in second] == [bar.get_height() for bar in first]
    assert sorted(text.get_text() for text in ax.texts) == ["", "50%", "50%", "97%"]


def test_intervals_leave_out_what_is_not_known(ax):
    plot_interval([0.0, 1.0], ([2.0, 3.0], [1.0, np.nan], [4.0, 5.0]), ax)
    (points,) = [line for line in ax.lines if line.get_marker() == "o"]
    assert (list(points.get_xdata()), list(points.get_ydata())) == ([0.0], [2.0])
    (whisker,) = ax.collections[0].get_segments()
    assert whisker[:, 1].tolist() == [1.0, 4.0]
