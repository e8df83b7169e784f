"""`diagnostics` against statsmodels, brute-force deletion and closed forms, on easy data and on hard ones."""

import warnings

import jax.numpy as jnp
import numpy as np
import problems
import pytest
import scipy.special
import statsmodels.api as sm
from statsmodels.stats.outliers_influence import OLSInfluence

from homotopy import (
    CrossEntropyLoss,
    Dataset,
    FlaggedRowsWarning,
    LinearRegression,
    LogisticRegression,
    Problem,
    RequestError,
    WorkError,
    cooks_distance,
    diagnostics,
    leverage,
    optimum,
)
from homotopy.endpoints import Outcome


def _linear(x, y, ridge=0.0):
    return Problem(LinearRegression(), Dataset(x, y), delete=0, ridge=ridge)


def _quietly(problem):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FlaggedRowsWarning)
        return diagnostics(problem)


def _noisy(n=30, d=3, seed=0):
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.standard_normal((n, d - 1))])
    return x, x @ np.arange(1.0, d + 1.0) + rng.standard_normal(n)


_NAMES = {
    "leverage": lambda case: case.hat_matrix_diag,
    "cook": lambda case: case.cooks_distance[0],
    "cook_exact": lambda case: case.cooks_distance[0],
    "internally_studentised": lambda case: case.resid_studentized_internal,
    "externally_studentised": lambda case: case.resid_studentized_external,
    "deleted_residual": lambda case: case.resid_press,
    "dffits": lambda case: case.dffits[0],
    "dfbetas": lambda case: case.dfbetas,
    "covratio": lambda case: case.cov_ratio,
}


def _agrees(found, x, y, atol=0.0, skip=()):
    case = OLSInfluence(sm.OLS(y, x).fit(method="qr"))
    for name in [name for name in _NAMES if name not in skip]:
        np.testing.assert_allclose(found.data[name], _NAMES[name](case), rtol=1e-8, atol=atol, err_msg=name)
    assert found.data.attrs["press"] == pytest.approx(case.ess_press, rel=1e-8)


def test_least_squares_is_statsmodels():
    x, y = _noisy()
    found = diagnostics(_linear(x, y))
    _agrees(found, x, y, atol=1e-12)
    fit = sm.OLS(y, x).fit()
    np.testing.assert_allclose(found.data["residual"], fit.resid, atol=1e-12)
    assert found.data.attrs["dispersion"] == pytest.approx(fit.mse_resid, rel=1e-10)
    assert found.data.attrs["effective_degrees_of_freedom"] == pytest.approx(3.0, rel=1e-12)
    spread = np.sum((y - y.mean()) ** 2)
    assert found.data.attrs["predicted_r2"] == pytest.approx(1 - found.data.attrs["press"] / spread, rel=1e-12)
    np.testing.assert_allclose(found.data["influence_error"], found.data["leverage"], rtol=1e-12)
    # The influence function forgets (1 − h)²; the leave-one-out optimum is that of a fit without the point.
    left = 1 - found.data["leverage"]
    np.testing.assert_allclose(found.data["cook_influence"], found.data["cook"] * left**2, rtol=1e-10)
    alone = np.linalg.lstsq(np.delete(x, 7, axis=0), np.delete(y, 7))[0]
    np.testing.assert_allclose(found.data["theta_without"][7], alone, rtol=1e-10)


def test_columns_of_any_units():
    years = np.arange(1990.0, 2020.0)
    noise = np.random.default_rng(0).standard_normal(30)
    y = 0.5 * (years - 2005) ** 2 + noise
    near = years - 2004.5
    raw, centred = np.column_stack([years**0, years, years**2]), np.column_stack([years**0, near, near**2])
    found = diagnostics(_linear(raw, y))
    # θ and DFBETAS belong to the columns, all else to the space that they span; y spans 113, θ holds 2e6.
    _agrees(found, centred, y, atol=1e-8, skip=("dfbetas",))
    other = diagnostics(_linear(raw * 2.0 ** np.array([0, 13, -30]), y * 2.0**300))
    for name in ("leverage", "cook", "dffits", "dfbetas", "covratio", "externally_studentised", "influence_error"):
        np.testing.assert_allclose(other.data[name], found.data[name], rtol=1e-9, err_msg=name)
    np.testing.assert_array_equal(other.data["flags"], found.data["flags"])


def test_a_ridge_is_deleted_around_exactly():
    n = 30
    x, y = _noisy(n)
    x[4] *= 30.0  # leverage 0.99
    ridge = 0.7
    found = diagnostics(_linear(x, y, ridge))
    inverse = np.linalg.inv(x.T @ x + ridge * np.eye(3))
    p = np.trace(x @ inverse @ x.T)
    assert found.data.attrs["effective_degrees_of_freedom"] == pytest.approx(p, rel=1e-12)
    assert p < 2.99
    residual = y - x @ inverse @ x.T @ y
    s2 = residual @ residual / (n - p)
    assert found.data.attrs["dispersion"] == pytest.approx(s2, rel=1e-10)
    theta = inverse @ x.T @ y
    for row in range(n):
        kept, wanted = np.delete(x, row, axis=0), np.delete(y, row)
        alone = np.linalg.inv(kept.T @ kept + ridge * np.eye(3))
        without = alone @ kept.T @ wanted
        moved = theta - without
        cook = moved @ (x.T @ x + ridge * np.eye(3)) @ moved / (p * s2)
        assert float(found.data["cook"][row]) == pytest.approx(cook, rel=1e-8)
        left_over = wanted - kept @ without
        s2_without = left_over @ left_over / (n - 1 - np.trace(kept @ alone @ kept.T))
        h = x[row] @ inverse @ x[row]
        student = (y[row] - x[row] @ without) * np.sqrt((1 - h) / s2_without)
        assert float(found.data["externally_studentised"][row]) == pytest.approx(student, rel=1e-8)
        ratio = np.linalg.det(s2_without * alone) / np.linalg.det(s2 * inverse)
        assert float(found.data["covratio"][row]) == pytest.approx(ratio, rel=1e-7)
        np.testing.assert_allclose(
            found.data["dfbetas"][row], moved / np.sqrt(s2_without * np.diag(inverse)), rtol=1e-7, atol=1e-10
        )
        np.testing.assert_allclose(found.data["theta_without"][row], without, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(cooks_distance(_linear(x, y, ridge)), found.data["cook"], rtol=1e-10)


def test_several_outputs_share_one_dispersion():
    case = problems.multi_output()
    x, y = np.asarray(case.x), np.asarray(case.y)
    n, m = y.shape
    found = diagnostics(case.problem)
    h = np.diag(x @ np.linalg.pinv(x))
    e = y - x @ np.linalg.lstsq(x, y)[0]
    p = m * x.shape[1]
    s2 = np.sum(e**2) / (n * m - p)
    cook = h * np.sum(e**2, axis=1) / (1 - h) ** 2 / (p * s2)
    np.testing.assert_allclose(found.data["cook"], cook, rtol=1e-9)
    np.testing.assert_allclose(cooks_distance(case.problem), cook, rtol=1e-9)
    rest = np.sum(e**2) - np.sum(e**2, axis=1) / (1 - h)
    student = e / np.sqrt((1 - h) * rest / ((n - 1) * m - p))[:, None]
    np.testing.assert_allclose(found.data["externally_studentised"], student, rtol=1e-8)
    assert found.data["dffits"].dims == ("point", "output")
    assert found.to_frame().shape[0] == n


def test_leverage_one_is_undefined_and_named():
    rng = np.random.default_rng(1)
    x, y = np.column_stack([np.ones(10), np.arange(10) == 5.0]), rng.standard_normal(10)
    others = np.delete(np.arange(10), 5)
    with pytest.warns(FlaggedRowsWarning, match=r"points 5 \(0/0"):
        found = diagnostics(_linear(x, y))
    assert float(found.data["leverage"][5]) == 1.0
    assert int(found.data["outcome"][5]) == Outcome.UNDETERMINED
    for name in ("deleted_residual", "internally_studentised", "externally_studentised", "cook", "dffits", "covratio"):
        assert np.isnan(found.data[name][5]), name
        assert np.isfinite(found.data[name][others]).all(), name
    assert np.isnan(found.data["theta_without"][5]).all()
    assert np.isnan(found.data.attrs["press"])
    assert 5 not in found.most_influential()
    # The other nine are those of the fit of the mean without it, but for its share of p.
    mean = OLSInfluence(sm.OLS(y[others], x[others, :1]).fit())
    np.testing.assert_allclose(found.data["externally_studentised"][others], mean.resid_studentized_external, rtol=1e-9)
    with pytest.warns(FlaggedRowsWarning, match="1 of 10 points have no value: 5"):
        cook = cooks_distance(_linear(x, y))
    np.testing.assert_allclose(cook[others], mean.cooks_distance[0] / 2, rtol=1e-9)
    assert np.isnan(cook[5])


@pytest.mark.parametrize("power", [4, 8, 12])
def test_leverage_nearly_one_keeps_its_digits(power):
    rng = np.random.default_rng(2)
    x, y = np.column_stack([np.ones(10), rng.standard_normal(10)]), rng.standard_normal(10)
    x[3, 1] = 10.0 ** (power / 2)
    found = diagnostics(_linear(x, y))
    kept, wanted = np.delete(x, 3, axis=0), np.delete(y, 3)
    theta, squares = np.linalg.lstsq(kept, wanted)[:2]
    grown = x[3] @ np.linalg.inv(kept.T @ kept) @ x[3]
    away = y[3] - x[3] @ theta
    student = away / np.sqrt((1 + grown) * squares[0] / 7)
    assert float(found.data["externally_studentised"][3]) == pytest.approx(student, rel=1e-8)
    assert float(found.data["dffits"][3]) == pytest.approx(student * np.sqrt(grown), rel=1e-8)
    dispersion = (squares[0] + away**2 / (1 + grown)) / 8
    cook = grown * away**2 / (1 + grown) / (2 * dispersion)
    assert float(found.data["cook"][3]) == pytest.approx(cook, rel=1e-7)


def test_perfect_fits():
    x = np.column_stack([np.ones(10), np.arange(10.0)])
    y = 2.0 + 3.0 * np.arange(10.0)
    with pytest.raises(WorkError, match="the fit is perfect"):
        cooks_distance(_linear(x, y))
    found = _quietly(_linear(x, y))
    for name in ("cook", "cook_influence", "internally_studentised", "externally_studentised", "dfbetas", "covratio"):
        assert np.isnan(found.data[name]).all(), name
    np.testing.assert_allclose(found.data["leverage"], np.diag(x @ np.linalg.pinv(x)), rtol=1e-12)
    assert "perfect fit" in str(found)
    # One point off: without it the fit is perfect, and nothing but that point has an infinite value.
    for off in (5.0, 1e12):
        y[3] = 11.0 + off
        found = _quietly(_linear(x, y))
        assert np.isposinf(found.data["externally_studentised"][3])
        assert np.isfinite(np.delete(found.data["externally_studentised"].to_numpy(), 3)).all()
        assert list(found.most_influential(1)) == [3]


def test_no_degrees_of_freedom():
    x, y = _noisy(n=4)
    with pytest.raises(RequestError, match="more points than parameters"):
        diagnostics(_linear(x[:3], y[:3]))
    found = _quietly(_linear(x, y))
    assert np.isnan(found.data["externally_studentised"]).all()
    np.testing.assert_allclose(np.abs(found.data["internally_studentised"]), 1.0, rtol=1e-8)  # one dimension is left


def test_logistic_regression_is_statsmodels():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(40), rng.standard_normal((40, 2))])
    y = (rng.random(40) < scipy.special.expit(x @ [0.3, 1.0, -0.5])).astype(float)
    problem = Problem(LogisticRegression(), Dataset(x, y), delete=0)
    found = diagnostics(problem)
    fit = sm.GLM(y, x, family=sm.families.Binomial()).fit(tol=1e-14)
    case = fit.get_influence()
    for name, expected in {
        "leverage": case.hat_matrix_diag,
        "cook": case.cooks_distance[0],
        "studentised_pearson": case.resid_studentized,
        "pearson_residual": fit.resid_pearson,
        "deviance_residual": fit.resid_deviance,
        "dfbetas": case.dfbetas,
        "residual": fit.resid_response,
    }.items():
        np.testing.assert_allclose(found.data[name], expected, rtol=1e-8, atol=1e-12, err_msg=name)
    assert found.data.attrs["deviance"] == pytest.approx(fit.deviance, rel=1e-10)
    # The exact ones by refits, and how much χ² and deviance of the others really fall (one-step, so to 10 %).
    theta, hessian = np.asarray(optimum(problem).theta), np.asarray(problem.hessian(optimum(problem).theta))
    for row in (3, 17):
        alone = sm.GLM(np.delete(y, row), np.delete(x, row, axis=0), family=sm.families.Binomial()).fit(tol=1e-14)
        moved = alone.params - theta
        np.testing.assert_allclose(found.data["theta_without"][row], alone.params, rtol=1e-6)
        assert float(found.data["cook_exact"][row]) == pytest.approx(moved @ hessian @ moved / 3, rel=1e-6)
        assert float(found.data["delta_deviance"][row]) == pytest.approx(fit.deviance - alone.deviance, rel=0.1)
    assert (found.data["newton_error"] < found.data["influence_error"]).all()
    h, r = case.hat_matrix_diag, fit.resid_pearson
    np.testing.assert_allclose(found.data["delta_chi2"], r**2 / (1 - h), rtol=1e-8)


def test_softmax_counts_its_free_dimensions():
    rng = np.random.default_rng(5)
    x = np.column_stack([np.ones(40), rng.standard_normal((40, 2)) * [1.0, 1e5]])
    y = rng.integers(0, 3, 40).astype(float)
    problem = Problem(LogisticRegression(), Dataset(x, y), delete=0, loss=CrossEntropyLoss())
    # Reference: the last class's logits are 0, so that six parameters are free and the Hessian is regular.
    theta = np.asarray(optimum(problem).theta).reshape(3, 3)
    p = scipy.special.softmax(x @ theta, axis=1)
    slopes, bends = p - np.eye(3)[y.astype(int)], np.stack([np.diag(row) - np.outer(row, row) for row in p])
    rows = np.einsum("nf,ck->ncfk", x * [1.0, 1.0, 1e-5], np.eye(3)[:, :2]).reshape(40, 3, 6)
    hessian = np.einsum("nci,ncd,ndj->ij", rows, bends, rows)
    spread = rows @ np.linalg.inv(hessian) @ rows.transpose(0, 2, 1)
    expected = np.einsum("nab,nba->n", bends, spread)
    np.testing.assert_allclose(leverage(problem), expected, rtol=1e-8)
    assert float(np.sum(leverage(problem))) == pytest.approx(3 * (3 - 1), rel=1e-10)  # features · (C − 1), not 9
    kept = np.linalg.solve(np.eye(3) - bends @ spread, slopes[:, :, None])[:, :, 0]
    cook = np.einsum("na,nab,nb->n", kept, spread, kept) / 6
    np.testing.assert_allclose(cooks_distance(problem), cook, rtol=1e-8)


def test_softmax_beside_refits():
    rng = np.random.default_rng(5)
    x = np.column_stack([np.ones(40), rng.standard_normal((40, 2))])
    y = rng.integers(0, 3, 40).astype(float)
    problem = Problem(LogisticRegression(), Dataset(x, y), delete=7, loss=CrossEntropyLoss(), ridge=0.1)
    found = diagnostics(problem).data
    theta, alone = np.asarray(optimum(problem).theta), np.asarray(optimum(problem, 0.0).theta)
    np.testing.assert_allclose(found["theta_without"][7], alone, rtol=1e-6, atol=1e-9)
    hessian = np.asarray(problem.hessian(theta))
    p = float(np.sum(leverage(problem)))
    assert float(found["cook_exact"][7]) == pytest.approx((alone - theta) @ hessian @ (alone - theta) / p, rel=1e-6)
    np.testing.assert_allclose(found["cook"], cooks_distance(problem), rtol=1e-10)
    scale = np.sqrt(np.diag(np.linalg.inv(hessian)))
    np.testing.assert_allclose(found["dfbetas"][7], (theta - alone) / scale, atol=0.1 * np.abs(theta - alone).max())
    p_own = scipy.special.softmax(x @ theta.reshape(3, 3), axis=1)[np.arange(40), y.astype(int)]
    np.testing.assert_allclose(found["pearson_residual"] ** 2, 1 / p_own - 1, rtol=1e-9)
    np.testing.assert_allclose(found["deviance_residual"] ** 2, -2 * np.log(p_own), rtol=1e-9)
    risk = lambda at, epsilon: float(problem.risk(jnp.asarray(at), epsilon))  # noqa: E731
    fallen = 2 * (risk(theta, 1.0) - risk(alone, 0.0))
    assert float(found["delta_deviance"][7]) == pytest.approx(fallen, rel=0.05)


def test_rows_without_which_there_is_no_minimiser():
    x = np.column_stack([np.ones(10), [-3, -2, -1.5, -1, 2.5, 1, 1.5, 2, 3, 0.5]])
    problem = Problem(LogisticRegression(), Dataset(x, np.arange(10) > 4.5), delete=0)
    with pytest.warns(FlaggedRowsWarning, match=r"points 4 \(.*separable"):
        found = diagnostics(problem)
    others = np.delete(np.arange(10), 4)
    assert np.isposinf(found.data["cook_exact"][4])
    assert np.isfinite(found.data["cook_exact"][others]).all()
    assert list(found.most_influential(1)) == [4]
    assert int(found.data["outcome"][4]) == Outcome.SEPARABLE
    # Softmax without a ridge, one class of one point: every other row is that of a refit, up to a shift of the logits.
    rng = np.random.default_rng(5)
    x, y = np.column_stack([np.ones(40), rng.standard_normal((40, 2))]), rng.integers(0, 2, 40).astype(float)
    y[3] = 2.0
    problem = Problem(LogisticRegression(), Dataset(x, y), delete=7, loss=CrossEntropyLoss())
    with pytest.warns(FlaggedRowsWarning, match=r"points 3 \(a class"):
        found = diagnostics(problem)
    alone, said = (np.asarray(at).reshape(3, 3) for at in (optimum(problem, 0.0).theta, found.data["theta_without"][7]))
    np.testing.assert_allclose(said - said[:, :1], alone - alone[:, :1], atol=1e-6)
    assert np.isfinite(found.data["dfbetas"]).all()


def test_what_is_shown():
    x, y = _noisy()
    found = diagnostics(Problem(LinearRegression(), Dataset(x, y, columns=["one", "a", "b"]), delete=0))
    told = str(found)
    for word in ("effective degrees of freedom 3", "PRESS", "Hoaglin and Welsch 1978", "Cook 1977", "most influential"):
        assert word in told
    frame = found.to_frame()
    assert {"dfbetas[one]", "dfbetas[b]", "flags", "leave_one_out"} <= set(frame.columns)
    order = np.argsort(-found.data["cook_exact"].to_numpy())
    assert list(found.most_influential(3)) == list(order[:3])
    hits = np.abs(found.data["dffits"]) > 2 * np.sqrt(3 / 30)
    np.testing.assert_array_equal(found.data["flags"].sel(flag="dffits"), hits)
    assert float(found.data["cutoff"].sel(flag="cook")) == pytest.approx(0.8089, abs=1e-4)  # median of F(3, 27)


def test_refusals():
    x, y = _noisy()
    with pytest.raises(RequestError, match="for a network use"):
        diagnostics(problems.teacher_student())
    with pytest.raises(WorkError, match=r"rank 3 of 4 .*; leave out a column"):
        diagnostics(_linear(np.column_stack([x, x[:, 1] + x[:, 2]]), y))
    for ask in (diagnostics, cooks_distance):
        with pytest.raises(RequestError, match="theta must be the optimum"):
            ask(_linear(x, y), theta=np.zeros(3))
