"""A stranger's schedule does everything that the package's own do: one file of theirs, no line of ours."""

import numpy as np
import pytest
from bell import Bell
from problems import random_ols

from homotopy import (
    LinearDecay,
    Parametric,
    RequestError,
    SearchResult,
    describe,
    energy,
    load,
    parse,
    search,
    simulate,
)
from homotopy.viz import plot_schedule


def test_a_strangers_schedule_is_first_class(tmp_path):
    case, t1 = random_ols(), 0.8
    problem, theta0 = case.problem, case.theta0

    # Simulated, and held against an Euler sum of its own formula.
    bell = Bell(0.3, 0.2)
    found = simulate(problem, bell, theta0, t1=t1)
    steps = 4000
    theta = np.array(theta0)
    for k in range(steps):
        epsilon = np.exp(-((((k + 0.5) * t1 / steps - 0.3) / 0.2) ** 2))
        theta = theta - t1 / steps * (case.hessian(epsilon) @ theta - case.drive(epsilon))
    np.testing.assert_allclose(found.theta1, theta, rtol=1e-3)

    # Searched, with the certificate of the linear problem below it.
    family = Parametric(lambda p: Bell(p[0], p[1]), start=[0.3, 0.2], bounds=[[0.0, t1], [0.05, 1.0]], starts=2)
    result = search(problem, theta0, t1=t1, family=family)
    free = search(problem, theta0, t1=t1, family="bang-bang")
    assert isinstance(result.schedule, Bell)
    assert result.certificate.kind == free.certificate.kind != "local"
    assert 0 < result.certificate.lower_bound <= free.energy <= result.energy
    assert result.energy <= float(energy(problem, bell, theta0, t1=t1))
    grid = [
        float(energy(problem, Bell(centre, width), theta0, t1=t1))
        for centre in np.linspace(0.0, t1, 4) for width in (0.05, 0.3, 1.0)
    ]  # fmt: skip
    assert result.energy <= min(grid) * (1 + 1e-9)
    assert "bell:" in str(result)
    assert isinstance(SearchResult.from_dict(result.to_dict()).schedule, Bell)

    # Saved and loaded.
    result.schedule.save(tmp_path / "bell.json")
    again = load(tmp_path / "bell.json")
    assert (float(again.centre), float(again.width)) == (float(result.schedule.centre), float(result.schedule.width))

    # Compared.
    rivals = {
        describe(schedule): float(energy(problem, schedule, theta0, t1=t1)) for schedule in (again, LinearDecay(0, t1))
    }
    assert rivals[describe(again)] == pytest.approx(result.energy, rel=1e-6)
    assert min(rivals, key=lambda name: rivals[name]) == describe(again)

    # Parsed, and plotted under the same name.
    assert parse(describe(bell)).width == bell.width == parse("bell:0.3,0.2").width
    ax = plot_schedule(bell, t1)
    ax.legend()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["bell:0.3,0.2"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), bell(ax.lines[0].get_xdata()))

    # ε = 1 on [0, s] is the training that has already happened: a schedule that is not so is no answer.
    with pytest.raises(RequestError, match=r"make\(p\) must be 1 on \[0, s\] = \[0, 0.1\].* but Bell is off by"):
        search(problem, theta0, s=0.1, t1=t1, family=family)
    for make, says in (
        (lambda p: Bell(float(p[0]), p[1]), r"make\(p\) must be a JAX function of p"),
        (lambda p: p, "make.* must return a schedule such as Step"),
        (lambda p: Bell(p[0], np.nan * p[1]), "must be finite"),
    ):
        with pytest.raises(RequestError, match=says):
            search(problem, theta0, t1=t1, family=Parametric(make, [0.3, 0.2], family.bounds))
