"""Every public function with every argument wrong in turn: one line of refusal, or a finite answer, and nothing else.

Run by `test_fuzz.py` as a program of its own, without the type checker that the test suite puts before every function:
what a user sees. `CASES` holds one valid call of each function; each of its arguments is replaced by each of `WRONG` (and
a problem by `PROBLEMS`). Prints one line per offence, as JSON.
"""

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import homotopy as ho

_RNG = np.random.default_rng(0)
X = np.column_stack([np.ones(6), _RNG.standard_normal(6)])
Y = X @ [0.5, -1.0] + 0.3 * _RNG.standard_normal(6)
CLASSES = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])


def linear(x: Any = X, y: Any = Y) -> ho.Problem:
    return ho.Problem(ho.LinearRegression(), ho.Dataset(x, y), delete=1)


DATA, PROBLEM = ho.Dataset(X, Y), linear()
LOGISTIC = ho.Problem(ho.LogisticRegression(), ho.Dataset(X, CLASSES), delete=1, ridge=0.1)
THETA, TARGET = np.array([0.2, 0.1]), np.array([0.5, -1.0])
STEP = ho.Step(0.3)

WRONG: dict[str, Any] = {
    "text": "a",
    "None": None,
    "NaN": np.nan,
    "inf": np.inf,
    "-inf": -np.inf,
    "huge": 1e300,
    "tiny": 1e-300,
    "negative": -1.0,
    "minus one": -1,
    "zero": 0,
    "a large whole number": 10**400,
    "empty": [],
    "list": [1.0, 2.0, 3.0],
    "list with NaN": [0.5, np.nan],
    "list of huge": [1e300, -1e300],
    "list of text": ["a", "b"],
    "ragged": [[1.0], [1.0, 2.0]],
    "cube": np.zeros((2, 3, 4)),
    "huge matrix": np.full((6, 2), 1e160),
    "complex": 1j,
    "dict": {},
    "object": object(),
}
# Units so odd that products of a few numbers leave the floats (a data set refuses where squares do), and no problems.
PROBLEMS: dict[str, Any] = {
    "x·1e140": linear(X * 1e140),
    "x·1e-145": linear(X * 1e-145),
    "y·1e140": linear(y=Y * 1e140),
    "x·1e5": linear(X * 1e5),
    "one column of zeros": linear(X * [1.0, 0.0]),
    "text": "a",
    "None": None,
    "list": [1.0],
    "a data set": DATA,
    "a model": ho.LinearRegression(),
}


@dataclass(frozen=True)
class Case:
    """A valid call of `function`. `keep`: arguments that are not replaced; `undefined`: parts of the answer that may be NaN."""

    function: Any
    arguments: dict[str, Any]
    keep: tuple[str, ...] = ()
    undefined: tuple[str, ...] = ()


def _value(mask: Any) -> float:
    return float(np.sum(np.asarray(mask)[:3] * np.array([3.0, 1.0, 2.0])[: len(mask)]))


def _flow(problem, theta0, switches, t1, first):
    return ho.BangBangFlow(problem)(theta0, switches, t1=t1, first=first)


def _saved() -> str:
    path = os.path.join(tempfile.mkdtemp(), "schedule")
    STEP.save(path)
    return path


LOO = {"problem": PROBLEM, "theta": None}
PICK = {**LOO, "hessian": "exact", "damping": 0.1}
SOLVE = {**PICK, "solver": "cholesky"}
FLOW = {"problem": PROBLEM, "schedule": STEP, "theta0": THETA, "t1": 1.0, "ts": [0.2, 0.5], "rtol": 1e-6, "atol": 1e-8}
CURVE = {"scores": [3.0, 1.0, 2.0], "value": _value, "counts": [0, 1], "best_first": True, "vectorised": False}
CASES: dict[str, Case] = {
    "datasets.random_linear": Case(ho.datasets.random_linear, {"n": 6, "d": 2, "noise": 0.5, "seed": 0}),
    "datasets.teacher_student": Case(ho.datasets.teacher_student, {"n": 6, "width": 2, "noise": 0.5, "seed": 0}),
    "datasets.load": Case(ho.datasets.load, {"name": "iris", "standardise": True, "intercept": False}),
    "Dataset.subset": Case(DATA.subset, {"rows": [0, 1]}),
    "Problem.deleting": Case(PROBLEM.deleting, {"delete": [0, 1]}),
    "Problem.initial": Case(PROBLEM.initial, {"key": 0}),
    "Problem.check_theta": Case(PROBLEM.check_theta, {"theta": THETA}),
    "Trajectory.evaluate": Case(ho.simulate(PROBLEM, STEP, THETA, t1=1.0, dense=True).evaluate, {"t": 0.5}),
    "SearchTable.schedule": Case(ho.search_all(PROBLEM, THETA, t1=1.0, delete=[0, 1]).schedule, {"row": 0}),
    "Dataset": Case(ho.Dataset, {"x": X, "y": Y, "name": ""}, keep=("name",)),
    "Problem": Case(
        ho.Problem,
        {"model": ho.LinearRegression(), "data": DATA, "delete": 1, "loss": ho.SquaredLoss(), "ridge": 0.1},
    ),
    "MLP": Case(ho.MLP, {"width": 3, "depth": 1, "activation": "tanh"}),
    "Constant": Case(ho.Constant, {"value": 0.5, "unrestricted": False}),
    "Step": Case(ho.Step, {"switch": 0.5}),
    "LinearDecay": Case(ho.LinearDecay, {"start": 0.1, "end": 0.5}),
    "PolynomialDecay": Case(ho.PolynomialDecay, {"start": 0.1, "end": 0.5, "power": 2.0}),
    "CosineDecay": Case(ho.CosineDecay, {"start": 0.1, "end": 0.5}),
    "ExponentialDecay": Case(ho.ExponentialDecay, {"start": 0.1, "rate": 2.0, "end": 0.5}),
    "PiecewiseConstant": Case(ho.PiecewiseConstant, {"times": [0.5], "values": [0.2, 0.3], "unrestricted": False}),
    "BangBang": Case(ho.BangBang, {"switches": [0.2, 0.5], "first": 1.0}),
    "PiecewiseLinear": Case(ho.PiecewiseLinear, {"times": [0.2, 0.5], "values": [0.2, 0.3], "unrestricted": False}),
    "NeuralSchedule": Case(ho.NeuralSchedule, {"start": 0.1, "end": 0.5, "width": 2, "depth": 1, "key": 0}),
    "Greedy": Case(ho.Greedy, {"target": TARGET}),
    "PointSchedules": Case(ho.PointSchedules, {"switches": [0.5], "values": [[0.1], [0.2]]}),
    "parse": Case(ho.parse, {"text": "step:0.5"}),
    "describe": Case(ho.describe, {"schedule": STEP, "digits": 4}),
    "simulate": Case(ho.simulate, {**FLOW, "method": "auto", "step": None, "dense": False, "max_steps": None}),
    "simulate by Diffrax": Case(ho.simulate, {**FLOW, "method": "diffrax", "solver": "tsit5", "max_steps": 500}),
    "simulate by descent": Case(ho.simulate, {**FLOW, "method": "descent", "step": 0.01}),
    "surface": Case(
        ho.surface,
        {"problem": PROBLEM, "epsilons": [0.0, 1.0], "theta0": THETA, "ts": [0.2, 0.5], "method": "auto", "rtol": 1e-6,
         "atol": 1e-8, "max_steps": 500, "batch_size": 2, "unrestricted": False},
    ),
    "sensitivity": Case(ho.sensitivity, {**FLOW, "solver": "tsit5", "max_steps": 500}),
    "optimum": Case(
        ho.optimum, {"problem": PROBLEM, "epsilon": 0.5, "start": THETA, "method": "auto", "throw": True}
    ),
    "optimum of a network of one neuron": Case(ho.optimum, {"problem": LOGISTIC, "epsilon": 0.5, "start": THETA}),
    "leave_one_out": Case(
        ho.leave_one_out,
        {"problem": PROBLEM, "start": "cold", "theta0": THETA, "theta": None, "method": "auto", "throw": True},
    ),
    "leave_one_out_all": Case(ho.leave_one_out_all, {**LOO, "start": "auto", "theta0": None}),
    "leave_one_out_proof": Case(
        ho.leave_one_out_proof,
        {**LOO, "start": "auto", "theta0": None},
        undefined=("theta", "gradient_norm", "value", "error", "residual", "prediction_error"),  # `outcome` says so
    ),
    "influence": Case(ho.influence, {**SOLVE, "at": "full"}),
    "corrected_influence": Case(ho.corrected_influence, PICK),
    "newton_estimate": Case(ho.newton_estimate, {**LOO, "damping": 0.1}),
    "influence_matrix": Case(ho.influence_matrix, {**SOLVE, "queries": DATA}),
    "self_influence": Case(ho.self_influence, SOLVE),
    "weight_jacobian": Case(ho.weight_jacobian, SOLVE),
    "leverage": Case(ho.leverage, {**PICK, "hessian": "gauss-newton"}),
    "cooks_distance": Case(ho.cooks_distance, LOO),
    "diagnostics": Case(ho.diagnostics, LOO, undefined=("data", "coefficients")),
    "theta_ddot": Case(ho.theta_ddot, {**LOO, "epsilon": 1.0}),
    "theta_dot_change": Case(ho.theta_dot_change, {"problem": PROBLEM, "start": None, "count": 5}),
    "CG": Case(
        lambda problem, **options: ho.influence(problem, solver=ho.CG(**options)),
        {"problem": PROBLEM, "rtol": 1e-8, "max_steps": 10, "rank": 0, "seed": 0},
    ),
    "GMRES": Case(
        lambda problem, **options: ho.influence(problem, solver=ho.GMRES(**options)),
        {"problem": PROBLEM, "rtol": 1e-8, "max_steps": 10, "restart": 5},
    ),
    "LiSSA": Case(
        lambda problem, **options: ho.influence(problem, solver=ho.LiSSA(**options)),
        {"problem": PROBLEM, "steps": 200, "batch_size": None, "scale": None, "seed": 0},
    ),
    "Arnoldi": Case(
        lambda problem, **options: ho.influence(problem, solver=ho.Arnoldi(**options)),
        {"problem": PROBLEM, "rank": 2, "steps": 2, "seed": 0},
    ),
    "inverse_memory": Case(
        ho.inverse_memory,
        {"problem": PROBLEM, "theta": THETA, "solver": "cholesky", "hessian": "gauss-newton", "damping": 0.1},
    ),
    "bregman": Case(ho.bregman, {"problem": PROBLEM, "theta": THETA, "reference": TARGET}),
    "response": Case(
        ho.response,
        {"problem": PROBLEM, "theta": None, "damping": 0.1, "epsilon": 0.1, "linearised": False, "hessian": "exact",
         "solver": "cholesky", "throw": True},
    ),
    "pbrf": Case(
        ho.pbrf, {"problem": PROBLEM, "theta_s": THETA, "damping": 0.1, "epsilon": 0.1, "throw": True}
    ),
    "pbrf_linearised": Case(
        ho.pbrf_linearised,
        {"problem": PROBLEM, "theta_s": THETA, "damping": 0.1, "epsilon": 0.1, "solver": "cholesky"},
    ),
    "path": Case(
        ho.path,
        {"problem": PROBLEM, "epsilons": [1.0, 0.0], "start": THETA, "on_fold": "raise"},
        undefined=("fold_epsilon",),  # there is none
    ),
    "align": Case(ho.align, {"problem": PROBLEM, "theta": THETA, "reference": TARGET}),
    "decompose_error": Case(
        ho.decompose_error,
        {"problem": PROBLEM, "theta0": THETA, "damping": 0.1, "t1": 1.0, "theta_s": None,
         "retrain_t1": None, "solver": None},
    ),
    "decompose_errors": Case(
        ho.decompose_errors,
        {"problem": PROBLEM, "delete": [0], "seeds": [0], "damping": 0.1, "t1": 1.0, "retrain_t1": None,
         "solver": None},
    ),
    "energy": Case(ho.energy, {**FLOW, "target": TARGET}),
    "search": Case(
        ho.search,
        {"problem": PROBLEM, "theta0": THETA, "s": 0.1, "t1": 1.0, "family": "step", "target": None,
         "goal": "parameters", "tolerance": 0.0, "switch_price": 0.0, "weight_price": 0.0, "certify": "none",
         "rtol": 1e-6, "atol": 1e-8},
    ),
    "Switches": Case(ho.Switches, {"most": 2, "pieces": 4, "starts": 1, "seed": 0}),
    "Levels": Case(ho.Levels, {"pieces": 4, "starts": 1, "seed": 0, "per_point": False}),
    "Knots": Case(ho.Knots, {"pieces": 4, "starts": 1, "seed": 0}),
    "Linear": Case(ho.Linear, {"starts": 1}),
    "Polynomial": Case(ho.Polynomial, {"powers": (0.5, 2.0), "starts": 1}),
    "Neural": Case(ho.Neural, {"width": 2, "starts": 1, "seed": 0}),
    "Parametric": Case(
        ho.Parametric, {"make": ho.Step, "start": [0.5], "bounds": [[0.0, 1.0]], "starts": 1, "seed": 0}
    ),
    "load": Case(ho.load, {"path": _saved()}),
    "search for the least time": Case(
        ho.search,
        {"problem": PROBLEM, "theta0": THETA, "t1": 5.0, "family": "bang-bang", "goal": "time", "tolerance": 0.1,
         "certify": "none"},
    ),
    "search_all": Case(
        ho.search_all, {"problem": PROBLEM, "theta0": THETA, "s": 0.1, "t1": 1.0, "delete": [0], "certify": False}
    ),
    "switching_function": Case(ho.switching_function, {**FLOW, "target": TARGET}),
    "costate": Case(ho.costate, {**FLOW, "target": TARGET}),
    "pontryagin_residual": Case(
        ho.pontryagin_residual,
        {"problem": PROBLEM, "schedule": STEP, "theta0": THETA, "s": 0.1, "t1": 1.0, "target": TARGET, "rtol": 1e-6,
         "atol": 1e-8},
    ),
    "BangBangFlow": Case(
        _flow, {"problem": PROBLEM, "theta0": THETA, "switches": [[0.2, 0.5]], "t1": 1.0, "first": 1}
    ),
    "exact_shapley": Case(ho.exact_shapley, {"value": _value, "n": 3, "vectorised": False}),
    "leave_one_out_values": Case(ho.leave_one_out_values, {"value": _value, "n": 3, "vectorised": False}),
    "truncated_monte_carlo_shapley": Case(
        ho.truncated_monte_carlo_shapley,
        {"value": _value, "n": 3, "permutations": 20, "truncation": 0.01, "patience": 2, "stop_change": None,
         "stop_width": None, "batch_size": 10, "seed": 0, "state": None, "vectorised": False},
    ),
    "gradient_shapley": Case(
        ho.gradient_shapley,
        {"problem": PROBLEM, "utility": ho.RefitUtility(PROBLEM, DATA), "step": 0.01, "theta0": THETA, "epochs": 1,
         "permutations": 20, "stop_change": None, "stop_width": None, "batch_size": 10, "seed": 0, "state": None},
    ),
    "knn_shapley": Case(
        ho.knn_shapley, {"x": X, "y": CLASSES, "queries": X[:2], "targets": CLASSES[:2], "neighbours": 2}
    ),
    "RefitUtility": Case(
        ho.RefitUtility,
        {"problem": PROBLEM, "queries": DATA, "score": "loss", "theta0": THETA, "step": None, "steps": None},
    ),
    "bayesian_influence": Case(
        ho.bayesian_influence,
        {"problem": PROBLEM, "theta": THETA, "inverse_temperature": 1.0, "localisation": 1.0, "draws": 8, "chains": 2,
         "seed": 0, "queries": None, "method": "langevin", "precondition": True, "step": 0.01, "thin": 1, "burn_in": 1,
         "batch_size": None, "friction": 2.0, "spread": 1.0, "half_width": None},
    ),
    "gaussian_bayesian_influence": Case(
        ho.gaussian_bayesian_influence,
        {"problem": PROBLEM, "theta": THETA, "inverse_temperature": 1.0, "localisation": 1.0, "queries": None,
         "leading": False},
    ),
    "split_rhat": Case(ho.split_rhat, {"draws": _RNG.standard_normal((2, 8, 2))}),
    "effective_sample_size": Case(ho.effective_sample_size, {"draws": _RNG.standard_normal((2, 8, 2))}),
    "flow_influence_kernel": Case(
        ho.flow_influence_kernel, {**FLOW, "queries": None, "solver": "tsit5"}
    ),
    "descend": Case(
        ho.descend,
        {"problem": PROBLEM, "theta0": THETA, "step": 0.01, "steps": 4, "batch_size": 2, "seed": 0,
         "point_weights": None},
    ),
    "sgd_influence": Case(
        ho.sgd_influence,
        {"problem": PROBLEM, "run": ho.descend(PROBLEM, THETA, step=0.01, steps=4), "queries": None},
    ),
    "tracin": Case(ho.tracin, {"problem": PROBLEM, "thetas": [THETA], "scales": [0.1], "queries": None}),
    "grad_dot": Case(ho.grad_dot, {"problem": PROBLEM, "theta": THETA, "queries": None, "scale": 1.0}),
    "source_influence": Case(
        ho.source_influence,
        {"problem": PROBLEM, "thetas": [THETA, TARGET], "ts": [0.0, 1.0], "queries": None, "segments": 1,
         "hessian": "gauss-newton"},
    ),
    "two_layer_time_scales": Case(
        ho.two_layer_time_scales,
        {"epsilons": [0.5], "phi": (1.0, 1.0), "sigma": (1.0, 1.0), "initial": [0.5, 0.5], "directions": None,
         "t1": 1.0, "count": 5, "rtol": 1e-6, "atol": 1e-8},
        keep=("t1",),
    ),
    "theoretical_exponents": Case(ho.theoretical_exponents, {"degrees": 3}),
    "linear_datamodelling_score": Case(
        ho.linear_datamodelling_score,
        {"scores": [3.0, 1.0, 2.0], "value": _value, "subsets": 3, "fraction": 0.5, "seed": 0, "level": 0.9,
         "vectorised": False, "actual": None},
    ),
    "datamodelling_subsets": Case(ho.datamodelling_subsets, {"n": 3, "subsets": 3, "fraction": 0.5, "seed": 0}),
    "removal_curve": Case(ho.removal_curve, CURVE),
    "addition_curve": Case(ho.addition_curve, CURVE),
    "mislabel_auc": Case(ho.mislabel_auc, {"scores": [3.0, 1.0, 2.0], "wrong": [True, False, False]}),
    "rank_agreement": Case(ho.rank_agreement, {"scores": [3.0, 1.0, 2.0], "reference": [1.0, 2.0, 3.0]}),
}  # fmt: skip

# What takes no argument that could be wrong, or is what a function returns.
WITHOUT_ARGUMENTS = {
    "RequestError", "WorkError", "datasets", "AbstractModel", "LinearRegression", "LogisticRegression", "AbstractLoss",
    "SquaredLoss", "LogisticLoss", "CrossEntropyLoss", "AbstractSchedule", "AbstractFamily", "GreedyFeedback",
    "Rodas5P", "AbstractInverse", "Cholesky", "EKFAC", "NotStationaryWarning", "ChainsWarning", "SolverWarning",
    "FlaggedRowsWarning", "Outcome",
}  # fmt: skip
RESULTS = {
    "Trajectory", "Surface", "Sensitivity", "Endpoint", "Influence", "ThetaDotChange", "Path", "ErrorDecomposition",
    "SearchResult", "SearchTable", "Certificate", "Arc", "Hypothesis", "Finding", "Rule", "Scale", "ShapleyEstimate",
    "BayesianInfluence", "FlowKernel", "DescentRun", "TimeScales", "DatamodellingScore", "Diagnostics",
}  # fmt: skip


def replacements(case: Case):
    """(argument, name of what is wrong, value) for every argument of the case."""
    for argument, valid in case.arguments.items():
        if argument in case.keep:
            continue
        kind = isinstance(valid, ho.Problem)
        for name, value in (PROBLEMS if kind else WRONG).items():
            yield argument, name, value


def outcome(case: Case, arguments: dict[str, Any]) -> str:
    """ "" where a call ends as it may; else what it did instead."""
    try:
        found = case.function(**arguments)
    except (ho.RequestError, ho.WorkError) as error:
        return "" if "\n" not in str(error) and str(error) else f"a refusal that is not one line: {error!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
    parts = vars(found) if hasattr(found, "__dict__") and not isinstance(found, type) else {"the answer": found}
    for name, part in parts.items():
        for leaf in jax.tree.leaves(part):
            array = np.asarray(leaf) if isinstance(leaf, float | np.ndarray | jax.Array) else np.zeros(0)
            if name not in case.undefined and array.dtype.kind == "f" and np.isnan(array).any():
                return f"answers with NaN in {name}"
    return ""


_NOW: list[tuple[str, float]] = []  # the call that runs, and since when
_ENDLESS = 20.0  # seconds of CPU


def _watch() -> None:
    """Ends the program, naming the call, where one does not end."""
    while True:
        time.sleep(1.0)
        if _NOW and time.process_time() - _NOW[0][1] > _ENDLESS:
            print(json.dumps([_NOW[0][0], "-", "-", "does not end"]), flush=True)
            os._exit(1)


def main(only: list[str]) -> None:
    warnings.simplefilter("ignore")
    slow: list[tuple[float, str]] = []
    calls = 0
    threading.Thread(target=_watch, daemon=True).start()
    for name, case in CASES.items():
        if only and name not in only:
            continue
        valid = outcome(case, case.arguments)
        if valid:
            print(json.dumps([name, "-", "valid", valid]), flush=True)
        for argument, wrong, value in replacements(case):
            began = time.process_time()
            _NOW[:] = [(f"{name}({argument}={wrong})", began)]
            with contextlib.redirect_stderr(open(os.devnull, "w")):
                said = outcome(case, {**case.arguments, argument: value})
            spent = time.process_time() - began
            calls += 1
            if said:
                print(json.dumps([name, argument, wrong, said], ensure_ascii=False), flush=True)
            if spent > 0.3:
                slow.append((spent, f"{name}({argument}={wrong})"))
    slow.sort(reverse=True)
    print(f"{calls} calls, {time.process_time():.0f} s of CPU; slowest {slow[:12]}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
