"""Accuracy and speed of the endpoints beside their peers, in one run: `python -m homotopy.scenarios.benchmarks.endpoints`.

Five sections, each alone by `--only`: `linear` (closed forms), `slopes` (how their time grows with n), `loo` (all
leave-one-out optima of a logistic regression against n warm-started refits), `pydvl` (influence on the same networks),
`memory` (influence by CG at 1e6 parameters).
Peers are imported late: a missing one is said, the rest still runs. The same instances are solved in float64, one after
the other; compile times are given apart. On a busy machine pin everything to one core, `taskset -c 0 python -m …`:
threads that wait for each other spoil the times of these small matrices by tens of times, the peers' most of all.

pyDVL works in the mean convention: (∇²L + λI)⁻¹ with L = Σℓ_i/n. Ours is the sum convention, (∇²R + nλI)⁻¹ with
R = Σℓ_i + ½ρ‖θ‖²; so its matrix of influences is n times ours, and the ridge is passed to it as λ + ρ/n.
pyDVL 0.10 asks for numpy < 2, JAX for numpy ≥ 2: install it by `pip install --no-deps pyDVL` beside homotopy[bench].
"""

import argparse
import ctypes
import importlib.metadata
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import root
from scipy.special import expit

from homotopy import MLP, CrossEntropyLoss, Dataset, LinearRegression, LogisticRegression, Problem, datasets, endpoints

from ._slopes import slopes
from .flow import best_of, compile_time


def relative(found: Any, true: Any) -> float:
    """The largest ‖found − true‖/‖true‖ over the rows."""
    found, true = np.atleast_2d(np.asarray(found)), np.atleast_2d(np.asarray(true))
    return float((np.linalg.norm(found - true, axis=-1) / np.linalg.norm(true, axis=-1)).max())


def linear(repeats: int) -> None:
    print("\nlinear regression: largest relative error beside closed forms in NumPy (QR) and refits (SVD)")
    for data in (datasets.random_linear(n=100, d=10, seed=0), datasets.load("diabetes", intercept=True)):
        identities(data)


def identities(data: Dataset, points: int = 12, damping: float = 0.1) -> None:
    x, y = np.asarray(data.x), np.asarray(data.y)
    n, d = x.shape
    q, r = np.linalg.qr(x)
    full, hat = np.linalg.lstsq(x, y, rcond=None)[0], np.sum(q**2, axis=1)
    residual = y - x @ full
    first = np.linalg.solve(r, (q * residual[:, None]).T).T  # H⁻¹x_j e_j
    steps = first / (1.0 - hat)[:, None]  # θ* − θ*₋ (Hayashi)
    refits = [np.linalg.lstsq(np.delete(x, j, 0), np.delete(y, j), rcond=None)[0] for j in range(n)]
    problem = Problem(LinearRegression(), data, delete=0)
    theta, removed = endpoints.optimum(problem).theta, np.asarray(endpoints.leave_one_out_all(problem))
    errors = {
        "leverage": np.abs(np.asarray(endpoints.leverage(problem)) / hat - 1.0).max(),
        "Q = P e²": np.abs(np.asarray(endpoints.self_influence(problem)) / (hat * residual**2) - 1.0).max(),
        "Hayashi": relative(removed, full - steps),
        "Hayashi beside refits": relative(removed, refits),
    }

    def note(kind: str, error: float) -> None:
        errors[kind] = max(errors.get(kind, 0.0), float(error))

    epsilons = np.linspace(1.0, 0.0, 9)
    for j in np.linspace(0, n - 1, points).astype(int):
        here, end, h = problem.deleting(int(j)), full - steps[j], hat[j] / (1 - hat[j])
        influence = endpoints.influence(here)
        note("θ̇(1)", relative(influence.theta_dot, first[j]))
        note("influence error = leverage", abs(relative(influence.theta_dot, steps[j]) / hat[j] - 1.0))
        note("θ̇(0) = (1+h)²θ̇(1)", relative(endpoints.influence(here, at="deleted").theta_dot, steps[j] * (1 + h)))
        note("Newton", relative(endpoints.newton_estimate(here).theta, end))
        anchor = np.asarray(problem.initial(int(j)))  # an untrained θˢ
        matrix = x.T @ x / n + damping * np.eye(d) - np.outer(x[j], x[j]) / n
        moved = np.linalg.solve(matrix, x[j] * (x[j] @ anchor - y[j]) / n)
        note("PBRF − θˢ", relative(endpoints.pbrf(here, anchor, damping=damping).theta - anchor, moved))
        curve = endpoints.path(here, epsilons)
        note("path", relative(curve.thetas, end + np.outer(epsilons * (1 + h) / (1 + epsilons * h), steps[j])))
        note("path is straight", abs(1.0 - float(curve.straightness)))
    told = ", ".join(f"{kind} {error:.1e}" for kind, error in errors.items())
    print(f"  {data.name}, d = {d}: largest of all {max(errors.values()):.1e} (target 1e-10)\n    {told}")
    found = np.linalg.norm(np.asarray(theta) - removed - steps, axis=1) / np.linalg.norm(steps, axis=1)
    small = np.linalg.norm(steps[found.argmax()]) / np.linalg.norm(full)
    print(f"    the step θ* − θ*₋: median error {np.median(found):.1e}, largest {found.max():.1e} (at {small:.0e}‖θ*‖)")


class Refits:
    """Independent refits in NumPy: R⁻ of every point, and its derivatives, from the same start θ*."""

    def __init__(self, data: Dataset, ridge: float, start: np.ndarray):
        self.x, self.y, self.ridge, self.start = np.asarray(data.x), np.asarray(data.y), ridge, start
        self.n, self.d = self.x.shape
        slopes = np.linalg.norm(self.x * (expit(self.x @ start) - self.y)[:, None], axis=1)
        self.targets = 1e-9 * (1.0 + slopes)  # what an endpoint must reach

    def gradient(self, theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return self.x.T @ (weights * (expit(self.x @ theta) - self.y)) + self.ridge * theta

    def hessian(self, theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
        p = expit(self.x @ theta)
        return (self.x.T * (weights * p * (1.0 - p))) @ self.x + self.ridge * np.eye(self.d)

    def all(self, fit: Callable[..., np.ndarray]) -> np.ndarray:
        return np.array([fit(i, (np.arange(self.n) != i) * 1.0) for i in range(self.n)])

    def newton(self, theta: np.ndarray, weights: np.ndarray, target: float) -> np.ndarray:
        slope = self.gradient(theta, weights)
        while np.linalg.norm(slope) > target:
            trial = theta - np.linalg.solve(self.hessian(theta, weights), slope)
            slope, before = self.gradient(trial, weights), np.linalg.norm(slope)
            if np.linalg.norm(slope) >= before:
                break
            theta = trial
        return theta

    def scikit_learn(self, peer: Any, i: int, weights: np.ndarray) -> np.ndarray:
        peer.coef_, peer.intercept_, peer.classes_ = self.start[None].copy(), np.zeros(1), np.array([0.0, 1.0])
        return peer.fit(np.delete(self.x, i, axis=0), np.delete(self.y, i)).coef_[0]


@eqx.filter_jit
def all_paths(problem: Problem, theta: Any) -> Any:
    ends = partial(endpoints.path, epsilons=jnp.array([1.0, 0.0]), start=theta, on_fold="stop")
    return jax.lax.map(lambda i: ends(problem.deleting(i[None])).thetas[-1], jnp.arange(problem.n))


def loo(repeats: int, ridge: float = 1.0) -> None:
    data = datasets.load("breast_cancer", intercept=True)
    problem = Problem(LogisticRegression(), data, delete=0, ridge=ridge)
    theta = endpoints.optimum(problem).theta
    refits = Refits(data, ridge, np.asarray(theta))
    truth = refits.all(lambda i, w: refits.newton(refits.start, w, 0.0))
    print(f"\nall {refits.n} leave-one-out optima from θ*: breast_cancer, logistic, d = {refits.d}, ridge {ridge:g}")
    jobs: dict[str, Any] = {
        "leave_one_out_all": lambda: endpoints.leave_one_out_all(problem, theta=theta),
        "path of every point": lambda: all_paths(problem, theta),
    }
    ours = tuple(jobs)
    jobs["NumPy Newton, by hand"] = lambda: refits.all(lambda i, w: refits.newton(refits.start, w, refits.targets[i]))
    # minimize("trust-exact") is slower, and stops 500 times above the target where its ratio test meets rounding.
    hybr = partial(root, refits.gradient, refits.start, jac=refits.hessian, tol=1e-12)
    jobs["SciPy root, hybr"] = lambda: refits.all(lambda i, w: hybr((w,)).x)
    try:
        from sklearn.linear_model import LogisticRegression as Peer

        for solver, tol in (("newton-cholesky", 1e-12), ("lbfgs", 1e-14)):  # the loosest that meet the target, if any
            peer = Peer(C=1 / ridge, fit_intercept=False, solver=solver, tol=tol, max_iter=999, warm_start=True)
            jobs[f"scikit-learn {solver}"] = partial(refits.all, partial(refits.scikit_learn, peer))
    except ImportError:
        print("  scikit-learn is not installed: pip install 'homotopy[data]'")
    seconds: dict[str, float] = {}
    for name, job in jobs.items():
        found, seconds[name] = np.asarray(job()), best_of(job, repeats if name in ours else 2)
        error = np.linalg.norm(found - truth, axis=1).max()
        slopes = np.linalg.norm(refits.all(lambda i, w, found=found: refits.gradient(found[i], w)), axis=1)
        stationary = (slopes / refits.targets).max()
        ratios = [f"{seconds[name] / seconds[k]:.1f}×" for k in ours if k in seconds]
        told = f"compile {compile_time(job, seconds[name]):.1f} s" if name in ours else "ratio " + ", ".join(ratios)
        print(f"  {name:28s} {seconds[name]:7.3f} s, ‖θ−θ_ref‖ {error:.0e}, ‖∇‖/target {stationary:.0e}   {told}")
    print("  ratio: to leave_one_out_all and to the paths; ‖∇‖/target: the worst ‖∇R⁻‖/(1e-9·(1 + ‖∇ at the start‖))")


def pydvl(repeats: int, damping: float = 0.01, count: int = 4) -> None:
    for name, loss, kind in (("diabetes", None, "exact"), ("wine", CrossEntropyLoss(), "gauss-newton")):
        problem = Problem(MLP(width=8), datasets.load(name), delete=0, loss=loss, ridge=1.0)
        trained = endpoints.optimum(problem, start=problem.initial(0), method="newton")
        theta, build = trained.theta, problem.hessian if kind == "exact" else problem.gauss_newton
        matrix = np.asarray(build(theta)) + problem.n * damping * np.eye(problem.dim)
        gradients = np.asarray(jax.jacrev(problem.losses)(theta))
        truth = gradients[:count] @ np.linalg.solve(matrix, gradients.T)
        rates = np.linalg.eigvalsh(matrix)
        print(
            f"\ninfluence of {problem.n} points on {count}: {problem.data.name}, MLP(8), dim {problem.dim}, "
            f"{type(problem.loss).__name__}, {kind} matrix, ridge {float(problem.ridge):g}, damping {damping:g}\n"
            f"  ‖∇R‖ {float(trained.gradient_norm):.0e}, condition {rates[-1] / rates[0]:.0f}; error: "
            "‖M − M_exact‖_F/‖M_exact‖_F beside a dense NumPy solve"
        )
        lissa, arnoldi = endpoints.LiSSA(steps=1000, scale=1.05 * rates[-1]), endpoints.Arnoldi(rank=50)
        solvers: dict[str, Any] = dict(cholesky="cholesky", cg="cg", gmres="gmres", lissa=lissa, arnoldi=arnoldi)
        queries, seconds = Dataset(problem.data.x[:count], problem.data.y[:count]), {}
        options: Any = {"theta": theta, "hessian": kind, "damping": damping}
        for name, solver in ((solvers if kind == "exact" else {}) | {"ekfac": "ekfac"}).items():
            job = partial(endpoints.influence_matrix, problem, queries, solver=solver, **options)
            error = np.linalg.norm(np.asarray(job()) - truth) / np.linalg.norm(truth)
            seconds[name] = best_of(job, repeats)
            compiled = compile_time(job, seconds[name])
            print(f"  ours  {name:20s} error {error:.1e} {seconds[name] * 1e3:9.2f} ms   compile {compiled:.1f} s")
        beside_pydvl(problem, np.asarray(theta), 1.05 * rates[-1] / problem.n, damping, truth, seconds)


def beside_pydvl(
    problem: Problem, theta: np.ndarray, scale: float, damping: float, truth: Any, ours: dict[str, float]
) -> None:
    """pyDVL's influence, from fit to values, with the weights copied; one thread, so small matrices are not slowed."""
    try:
        import torch
        from pydvl.influence import torch as peers
    except ImportError as missing:
        print(f"  pyDVL is not installed, or lacks {missing.name}: pip install 'homotopy[bench]', then --no-deps pyDVL")
        return
    from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

    torch.set_default_dtype(torch.float64)  # its EKFAC accumulates in the default type
    torch.set_num_threads(1)
    print("  beside " + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("pyDVL", "torch", "numpy")))
    shift, classes = damping + float(problem.ridge) / problem.n, sum(problem.output_shape)
    width, n, linear = problem.model.width, problem.n, torch.nn.Linear  # type: ignore[attr-defined]  # an MLP has it
    module = torch.nn.Sequential(linear(problem.data.features, width), torch.nn.Tanh(), linear(width, classes or 1))
    torch.nn.utils.vector_to_parameters(torch.tensor(theta), module.parameters())  # the same order as θ
    x, y = torch.tensor(np.array(problem.data.x)), torch.tensor(np.array(problem.data.y))
    y = y.long() if classes else y[:, None]
    points: Any = TensorDataset(x, y)
    # All points as one batch, cut out at once; LiSSA makes a loader of its own, which collates them one by one.
    whole = DataLoader(points, batch_size=None, sampler=BatchSampler(SequentialSampler(points), n, False))

    def loss(found: Any, target: Any) -> Any:
        return 0.5 * torch.mean((found - target) ** 2)

    tight: Any = {"rtol": 1e-10, "atol": 1e-30}
    series: Any = {"maxiter": 1000, "scale": scale, "rtol": 1e-12, "warn_on_max_iteration": False}
    models: dict[str, Any] = {
        "direct": (peers.DirectInfluence, {}),
        "cg": (peers.CgInfluence, tight),
        "cg, simultaneous": (peers.CgInfluence, tight | {"solve_simultaneously": True}),
        "lissa": (peers.LissaInfluence, series),
        "arnoldi": (peers.ArnoldiInfluence, {"rank": 50, "use_woodbury": True}),
    }
    if classes:  # EkfacInfluence takes no loss, and (update_diagonal, hessian_regularization)
        models = {"ekfac": (peers.EkfacInfluence, False), "ekfac, updated": (peers.EkfacInfluence, True)}
    else:
        print("  pyDVL ekfac: not for this loss (its EkfacInfluence takes cross-entropy only); see the next network")
    for name, (model, options) in models.items():
        loader = DataLoader(points, batch_size=n) if name == "lissa" else whole

        def job(model=model, options=options, loader=loader) -> Any:
            made = model(module, options, shift) if classes else model(module, loss, shift, **options)
            return made.fit(loader).influences(x[: len(truth)], y[: len(truth)], x, y)

        try:
            found, seconds = job().detach().numpy() / n, best_of(job, 2)
        except Exception as failure:  # a peer's failure is a result to print
            print(f"  pyDVL {name}: {type(failure).__name__}: {str(failure)[:200]}")
            continue
        error = np.linalg.norm(found - truth) / np.linalg.norm(truth)
        ratio = seconds / ours[key := name.replace("direct", "cholesky").split(",")[0]]
        print(f"  pyDVL {name:20s} error {error:.1e} {seconds * 1e3:9.2f} ms   ratio to our {key} {ratio:.1f}×")


def memory(repeats: int, points: int = 32, features: int = 98) -> None:
    print("\nmemory of an influence by CG (Gauss–Newton, damping 0.1, 32 points), beside θ, which takes 8·P bytes")
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((points, features)), rng.standard_normal(points))
    for width in (100, 1_000, 10_000):
        problem = Problem(MLP(width=width), data, delete=0)
        theta = problem.initial(0)
        job = partial(endpoints.influence, problem, theta=theta, hessian="gauss-newton", damping=0.1, solver="cg")
        found, own, peak = job(), 8.0 * problem.dim, peak_memory(job)
        working = endpoints.inverse_memory(problem, theta, "cg")["working"]
        seen = "not measured (needs Linux)" if peak is None else f"{peak / 1e6:6.1f} MB = {peak / own:4.1f} θ"
        print(
            f"  P = {problem.dim:7d}: peak of a run {seen}, by the compiler's account {working / 1e6:5.1f} MB = "
            f"{working / own:.1f} θ (dense: {8e-9 * problem.dim**2:.2g} GB); residual {float(found.residual):.1e} in "
            f"{int(found.iterations)} steps, {best_of(job, 2):.2f} s"
        )


def peak_memory(job: Callable[[], Any]) -> float | None:
    """The largest resident memory during a (compiled) run beyond that before it, in bytes, by Linux's account."""

    def resident(key: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(key))

    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = resident("VmRSS")
        jax.block_until_ready(jax.tree.leaves(job()))
        return resident("VmHWM") - before
    except OSError:
        return None


def main() -> None:
    sections: dict[str, Callable[[int], None]] = {
        "linear": linear, "slopes": slopes, "loo": loo, "pydvl": pydvl, "memory": memory,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=tuple(sections), help="run one section")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each of ours; the shortest counts")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # peers warn when rounding stops them; what they reached is printed
    warnings.simplefilter("error", endpoints.NotStationaryWarning)
    for name in [options.only] if options.only else sections:
        sections[name](options.repeats)


if __name__ == "__main__":
    main()
