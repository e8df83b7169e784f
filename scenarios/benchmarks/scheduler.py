"""The scheduler beside its peers, in one run: `python -m homotopy.scenarios.benchmarks.scheduler [--quick] [--only SECTION]`.

Sections: `search` (one bang-bang search against CasADi + IPOPT multiple shooting, building included), `batch` (all
deleted points, 256 trajectories), `certificate` (gaps where the residual's sign is certified, the value-function bound
on the rest), `bounds` (no lower bound above the best of all searches), `brute` (three switches on a grid, polished),
`network` (a 3-neuron MLP against CasADi from the same starts). CasADi comes with the extra `bench`, Clarabel with
`certify`; a missing one is said, the rest still runs. On a busy machine pin to one core: `taskset -c 0 python -m …`.

Instances: rows of covariance condition 10, noise 0.5, θ₀ ~ N(0, I), T = 2/λ_min(XᵀX), s = 0.2 T. E_b is E(1_[0,s]).
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize

from homotopy import MLP, Levels, Problem, Step, datasets, energy, search, simulate
from homotopy.scheduler import (
    Bang,
    BangBangFlow,
    Window,
    dual_bound,
    linear_control,
    search_all,
    search_bang_bang,
    value_function_bound,
    window,
)

from .._instances import Instance, random_instance


def opened(given: Instance) -> Window:
    problem, theta0, s, t1 = given
    return window(linear_control(problem, theta0), s, t1)


def timed(work: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, float]:
    """The result and the seconds."""
    began = time.perf_counter()
    return work(*arguments, **options), time.perf_counter() - began


def baseline(here: Window) -> float:
    return here.value(Bang(0, np.zeros(0)))


# CasADi -------------------------------------------------------------------------------------------------------------


def casadi() -> Any:
    """The module, or None with a word."""
    try:
        import casadi as module
    except ImportError:
        print("  CasADi is not installed (pip install 'homotopy[bench]'): its rows are left out")
        return None
    return module


def shooting(
    ca: Any, field: Any, start: np.ndarray, target: np.ndarray, length: float, pieces: int, guesses: list
) -> float:
    """The least E of direct multiple shooting, RK4 with four steps on each of `pieces` levels, from every guess."""
    dim = len(start)
    z, e = ca.SX.sym("z", dim), ca.SX.sym("e")
    h, x = length / pieces / 4, z
    for _ in range(4):
        k1 = field(x, e)
        k2 = field(x + 0.5 * h * k1, e)
        k3 = field(x + 0.5 * h * k2, e)
        k4 = field(x + h * k3, e)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    step = ca.Function("step", [z, e], [x])
    states, levels = ca.MX.sym("states", dim, pieces + 1), ca.MX.sym("levels", 1, pieces)
    ahead = step.map(pieces)(states[:, :-1], levels)
    gaps = ca.vertcat(states[:, 0] - start, ca.reshape(ahead - states[:, 1:], -1, 1))
    cost = 0.5 * ca.sumsqr(states[:, -1] - target)
    unknowns = ca.vertcat(ca.reshape(states, -1, 1), ca.reshape(levels, -1, 1))
    quiet = {"ipopt.print_level": 0, "print_time": False, "ipopt.sb": "yes", "ipopt.tol": 1e-9, "ipopt.max_iter": 500}
    solver = ca.nlpsol("solver", "ipopt", {"x": unknowns, "f": cost, "g": gaps}, quiet)
    free = dim * (pieces + 1)
    low = np.concatenate([np.full(free, -np.inf), np.zeros(pieces)])
    high = np.concatenate([np.full(free, np.inf), np.ones(pieces)])
    best = np.inf
    for guess in guesses:
        rolled = [start]
        for level in guess:
            rolled.append(np.asarray(step(rolled[-1], level)).ravel())
        found = solver(x0=np.concatenate([np.ravel(rolled), guess]), lbx=low, ubx=high, lbg=0, ubg=0)
        if solver.stats()["success"]:
            best = min(best, float(found["f"]))
    return best


def linear_field(ca: Any, here: Window) -> Any:
    keep, full = here.control.keep, here.control.full
    return lambda z, e: (
        -(ca.DM(keep.hessian) @ z) + keep.drive
        + e * (ca.DM(full.drive - keep.drive) - ca.DM(full.hessian - keep.hessian) @ z)
    )  # fmt: skip


# Sections -----------------------------------------------------------------------------------------------------------


def single(quick: bool) -> None:
    print("\nsearch: one bang-bang search, 20 seeds; median ms; gap to the best of all, in units of E_b")
    ca = casadi()
    for d in (2, 10):
        seeds = range(5 if quick else 20)
        given = [random_instance(seed, d, n=200 if seed % 2 else 20 + d) for seed in seeds]
        ours, times, dual, proven = [], [], [], 0
        for problem, theta0, s, t1 in (given[0], *given):
            options: dict[str, Any] = {"s": s, "t1": t1, "family": "bang-bang"}
            result, seconds = timed(search, problem, theta0, certify="none", **options)
            ours.append(result.energy)
            times.append(seconds)
            here = opened(Instance(problem, theta0, s, t1))
            found = search_bang_bang(here)[0]
            end = here.ends(found.bang.first, found.bang.switches[None])[0]
            bound, more = timed(dual_bound, here, end)
            proven += bound is not None
            dual.append(more)
        ours, times, dual = ours[1:], times[1:], dual[1:]
        print(f"  d = {d}: homotopy {1e3 * np.median(times):.2f} ms (largest {1e3 * max(times):.1f}), dual certificate "
              f"{1e3 * np.median(dual):.2f} ms more, on {proven - (proven > len(seeds))} of {len(seeds)}")  # fmt: skip
        for pieces in (50,) if quick else (50, 200):
            if ca is None:
                break
            theirs, spent = [], []
            for one in given:
                here = opened(one)
                field, guesses = linear_field(ca, here), [np.full(pieces, 0.5)]
                value, seconds = timed(shooting, ca, field, here.begin, np.zeros(d), here.length, pieces, guesses)
                theirs.append(value)
                spent.append(seconds)
            bases = np.array([baseline(opened(one)) for one in given])
            gaps, ahead = (np.array(theirs) - ours) / bases, (np.array(ours) - theirs) / bases
            worst = f"its largest gap {gaps.max():.1e}, ours {max(ahead.max(), 0):.1e}"
            ratio = np.median(spent) / np.median(times)
            print(f"    CasADi + IPOPT N = {pieces}: {1e3 * np.median(spent):.1f} ms, ratio ×{ratio:.1f}; {worst}")


def batch(quick: bool) -> None:
    print("\nbatch: all deleted points of a 200 × 10 problem; 256 bang-bang trajectories")
    problem, theta0, s, t1 = random_instance(0, 10, n=200)
    points = np.arange(40 if quick else 200)
    for certify in (False, True):
        table, seconds = timed(search_all, problem, theta0, s=s, t1=t1, delete=points, certify=certify)
        print(f"  search_all(certify={certify}): {1e3 * seconds / len(points):.2f} ms per point")
    print(f"  {table}")
    flow = BangBangFlow(problem)
    switches = np.sort(np.random.default_rng(0).uniform(0, t1, (256, 4)), axis=1)
    ends = flow(theta0, switches, t1=t1)
    seconds = min(timed(flow, theta0, switches, t1=t1)[1] for _ in range(20))
    control = linear_control(problem, theta0, np.zeros(10))
    errors = []
    for row, end in zip(switches[:20], ends, strict=False):
        z, epsilon, before = theta0, 1, 0.0
        for after in (*row, t1):
            phase = control.full if epsilon else control.keep
            block = np.block([[-phase.hessian, phase.drive[:, None]], [np.zeros((1, 11))]])
            z = (scipy.linalg.expm(block * (after - before)) @ np.append(z, 1.0))[:10]
            epsilon, before = 1 - epsilon, after
        errors.append(np.abs(z - end).max())
    print(f"  256 trajectories: {1e3 * seconds:.3f} ms, largest error {max(errors):.1e} against matrix exponentials")


def certificate(quick: bool) -> None:
    print("\ncertificate: instances with E* > 1e-6 E_b")
    for d in (1, 2, 5, 10):
        gaps, ratios, seconds = [], [], []
        for seed in range(30 if quick else 200):
            here = opened(random_instance(seed, d, n=max(20, 3 * d)))
            best = search_bang_bang(here)[0]
            if best.value <= 1e-6 * baseline(here):
                continue
            bound = dual_bound(here, here.ends(best.bang.first, best.bang.switches[None])[0])
            if bound is not None:
                gaps.append((best.value - bound) / best.value)
            else:
                (bound, _), spent = timed(value_function_bound, here)
                ratios.append(bound / best.value)
                seconds.append(spent)
        print(f"  d = {d}: sign certified {len(gaps)}, largest relative gap {max(gaps, default=0):.1e}; value function on "
              f"{len(ratios)}: ≥ 0.98 E* on {np.mean(np.array(ratios) >= 0.98):.1%}, least {min(ratios, default=1):.4f}, "
              f"median {np.median(ratios):.4f}, {np.median(seconds):.3f} s (largest {max(seconds, default=0):.2f})")  # fmt: skip


def bounds(quick: bool) -> None:
    count = 100 if quick else 2000
    print(f"\nbounds: {count} instances")
    rng = np.random.default_rng(1)
    invalid = dual = programs = unsettled = many = 0
    for seed in range(10_000, 10_000 + count):
        d = int(rng.choice([1, 2, 3, 5, 10], p=[0.2, 0.35, 0.25, 0.15, 0.05]))
        n, span = d + int(rng.integers(2, 30)), float(rng.choice([1, 2, 3]))
        here = opened(random_instance(seed, d, n, span))
        best = search_bang_bang(here)[0]
        size, base = float(here.begin @ here.begin), baseline(here)
        value = min(best.value, brute_force(here, 9, 1) if d <= 3 else np.inf)
        unsettled += best.residual > 1e-8 and value > 1e-10 * base
        if len(best.bang.switches) > 2 * d - 1 and value > 1e-20 * size:
            many += 1
            print(
                f"  news: over 2d − 1 switches: random_instance({seed}, {d}, {n}, {span:g}): {best}, E/E_b = {value / base:.1e}"
            )
        found = {"dual": dual_bound(here, here.ends(best.bang.first, best.bang.switches[None])[0])}
        dual += found["dual"] is not None
        if d <= 5 and (found["dual"] is None or seed % 4 == 0):
            programs += 1
            found["value function"] = value_function_bound(here)[0]
        for kind, bound in found.items():
            if bound is not None and bound > value:
                invalid += 1
                print(f"  INVALID {kind} bound at random_instance({seed}, {d}, {n}, {span:g}): {bound:.17g} > E = {value:.17g} "
                      f"(E/‖z‖² = {value / size:.1e}, search {best})")  # fmt: skip
    print(f"  {dual} dual and {programs} value-function bounds: {invalid} invalid; {unsettled} searches with a Pontryagin "
          f"residual above 1e-8; {many} with more than 2d − 1 switches where E* > 0")  # fmt: skip


def brute_force(here: Window, points: int = 25, polished: int = 3) -> float:
    """Three switches on a grid, both first values, the best few polished."""
    grid = np.linspace(here.s, here.t1, points)
    i, j, k = np.meshgrid(*[np.arange(points)] * 3, indexing="ij")
    keep = (i <= j) & (j <= k)
    rows = np.stack([grid[a[keep]] for a in (i, j, k)], axis=1)
    best, scale = np.inf, baseline(here) or 1.0
    for first in (0, 1):
        values = here.values(first, rows)
        best = min(best, float(values.min()))
        for row in rows[np.argsort(values)[:polished]]:
            found = scipy.optimize.minimize(
                lambda x, first=first: here.value(Bang(first, np.clip(np.sort(x), here.s, here.t1))) / scale, row,
                method="SLSQP", bounds=[(here.s, here.t1)] * 3, options={"ftol": 1e-15, "maxiter": 200},
            )  # fmt: skip
            best = min(best, float(found.fun) * scale)
    return best


def brute(quick: bool) -> None:
    count, worst = (20 if quick else 200), -np.inf
    for seed in range(count):
        here = opened(random_instance(500 + seed, 1 + seed % 5, n=20))
        worst = max(worst, (search_bang_bang(here)[0].value - brute_force(here)) / baseline(here))
    print(f"\nbrute: {count} instances, d = 1…5: E(search) − E(grid, polished) ≤ {worst:.1e} E_b")


def network(quick: bool) -> None:
    print("\nnetwork: 3-neuron tanh MLP, 20 points, 50 pieces, the same starts")
    ca = casadi()
    for seed in range(1 if quick else 4):
        problem = Problem(MLP(width=3), datasets.teacher_student(n=20, width=3, seed=seed), delete=4 + seed)
        theta0 = problem.initial(seed)
        target = simulate(problem, Step(0.0), theta0, t1=200.0, ts=[200.0]).theta1
        s, t1, starts = 0.4, 4.0, 4
        options: dict[str, Any] = {"s": s, "t1": t1, "target": target, "family": Levels(pieces=50, starts=starts)}
        _, cold = timed(search, problem, theta0, **options)
        result, warm = timed(search, problem, theta0, **options)
        arcs = [arc.kind for arc in result.structure]
        print(f"  seed {seed}: E = {result.energy:.8g} (baseline {result.baseline_energy:.5g}), {warm:.2f} s warm, "
              f"{cold:.1f} s with compilation; {result.agreed} of {result.starts} starts agreed; "
              f"residual {result.pontryagin_residual:.1e}; {arcs}")  # fmt: skip
        if ca is not None:
            begin = np.asarray(simulate(problem, Step(s), theta0, t1=s, ts=[s]).theta1)
            guesses = [np.zeros(50), np.ones(50), (np.arange(50) < 25).astype(float), np.full(50, 0.5)]
            field = network_field(ca, problem)
            value, seconds = timed(shooting, ca, field, begin, np.asarray(target), t1 - s, 50, guesses)
            print(f"    CasADi + IPOPT: E = {value:.8g}, {seconds:.2f} s, ratio ×{seconds / warm:.1f}; "
                  f"E/E(CasADi) = {result.energy / value:.8f}")  # fmt: skip
        step = search(problem, theta0, s=s, t1=t1, target=target, family="step")
        check = float(energy(problem, result.schedule, theta0, t1=t1, target=target))
        print(f"    best step E = {step.energy:.8g}; E simulated again {check:.8g}")


def network_field(ca: Any, problem: Problem) -> Any:
    """θ̇ of a one-hidden-layer tanh network with one output, symbolically."""
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    theta, e, features = ca.SX.sym("theta", problem.dim), ca.SX.sym("e"), x.shape[1]
    width = (problem.dim - 1) // (features + 2)
    a = ca.reshape(theta[: width * features], features, width).T
    b = theta[width * features : width * (features + 1)]
    c = theta[width * (features + 1) : width * (features + 2)]
    risk = 0
    for i in range(len(x)):
        output = ca.dot(c, ca.tanh(a @ ca.DM(x[i]) + b)) + theta[-1]
        weight = e if i in np.asarray(problem.delete) else 1.0
        risk = risk + weight * 0.5 * (output - float(y[i])) ** 2
    return ca.Function("field", [theta, e], [-ca.gradient(risk, theta)])


SECTIONS: dict[str, Callable[[bool], None]] = {
    "search": single, "batch": batch, "certificate": certificate, "bounds": bounds, "brute": brute, "network": network,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer instances")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=list(SECTIONS), help="these sections only")
    settings = parser.parse_args()
    for name in settings.only:
        SECTIONS[name](settings.quick)


if __name__ == "__main__":
    main()
