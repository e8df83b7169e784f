"""Accuracy and speed of the endpoints beside their peers, in one run: `python -m scenarios.benchmarks.endpoints`.

Four sections, each alone by `--only`: `linear` (closed forms), `loo` (all leave-one-out optima of a logistic regression
against n warm-started refits by scikit-learn and SciPy), `pydvl` (influence on the same networks) and `memory`
(influence by conjugate gradients at up to 1e6 parameters). Peers are imported late: a missing one is said, the rest
still runs. Every comparison solves the same instances in float64 on the same machine, one after the other; compile
times are given apart.

pyDVL works in the mean convention: (∇²L + λI)⁻¹ with L = Σℓ_i/n. Ours is the sum convention, (∇²R + nλI)⁻¹ with
R = Σℓ_i + ½ρ‖θ‖²; so its matrix of influences is n times ours, and the ridge is passed to it as λ + ρ/n.
pyDVL 0.10 asks for numpy < 2, JAX for numpy ≥ 2: install it by `pip install --no-deps pyDVL` beside homotopy[bench].
"""

import argparse
import ctypes
import gc
import importlib.metadata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize, root
from scipy.special import expit

from homotopy import MLP, CrossEntropyLoss, Dataset, LinearRegression, LogisticRegression, Problem, datasets, endpoints

from .flow import best_of, compile_time

EPSILONS = np.linspace(1.0, 0.0, 9)


def relative(found: Any, true: Any) -> float:
    """The largest ‖found − true‖/‖true‖ over the rows."""
    found, true = np.atleast_2d(np.asarray(found)), np.atleast_2d(np.asarray(true))
    return float((np.linalg.norm(found - true, axis=-1) / np.linalg.norm(true, axis=-1)).max())


# Linear regression: everything has a closed form --------------------------------------------------------------------


def linear(repeats: int) -> None:
    print("\nlinear regression: largest relative error beside closed forms in NumPy (QR) and weighted refits (SVD)")
    identities("random_linear(100, 10)", datasets.random_linear(n=100, d=10, seed=0))
    identities("diabetes", datasets.load("diabetes", intercept=True))


def identities(name: str, data: Dataset, points: int = 12, damping: float = 0.1) -> None:
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
        "optimum": relative(theta, full),
        "leverage": np.abs(np.asarray(endpoints.leverage(problem)) / hat - 1.0).max(),
        "Q = P e²": np.abs(np.asarray(endpoints.self_influence(problem)) / (hat * residual**2) - 1.0).max(),
        "Hayashi": relative(removed, full - steps),
        "Hayashi beside refits": relative(removed, refits),
    }

    def note(kind: str, error: float) -> None:
        errors[kind] = max(errors.get(kind, 0.0), float(error))

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
        curve = endpoints.path(here, EPSILONS)
        note("path", relative(curve.thetas, end + np.outer(EPSILONS * (1 + h) / (1 + EPSILONS * h), steps[j])))
        note("path is straight", abs(1.0 - float(curve.straightness)))
    print(f"  {name}, n = {n}, d = {d}: largest of all {max(errors.values()):.1e} (target 1e-10)")
    print("    " + ", ".join(f"{kind} {error:.1e}" for kind, error in errors.items()))
    found = np.linalg.norm(np.asarray(theta) - removed - steps, axis=1) / np.linalg.norm(steps, axis=1)
    small = np.linalg.norm(steps[found.argmax()]) / np.linalg.norm(full)
    print(f"    θ* − θ*₋ as a difference: median error {np.median(found):.1e}, largest {found.max():.1e} (of {small:.0e}·‖θ*‖)")


# All leave-one-out optima of a logistic regression ------------------------------------------------------------------


class Refits:
    """Independent refits in NumPy: R⁻ of every point, and its derivatives, from the same start θ*."""

    def __init__(self, data: Dataset, ridge: float, start: np.ndarray):
        self.x, self.y, self.ridge, self.start = np.asarray(data.x), np.asarray(data.y), ridge, start
        self.n, self.d = self.x.shape
        slopes = np.linalg.norm(self.x * (expit(self.x @ start) - self.y)[:, None], axis=1)
        self.targets = 1e-9 * (1.0 + slopes)  # what an endpoint must reach

    def value(self, theta: np.ndarray, weights: np.ndarray) -> float:
        z = self.x @ theta
        return float(weights @ (np.logaddexp(0.0, z) - self.y * z) + 0.5 * self.ridge * theta @ theta)

    def gradient(self, theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return self.x.T @ (weights * (expit(self.x @ theta) - self.y)) + self.ridge * theta

    def hessian(self, theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
        p = expit(self.x @ theta)
        return (self.x.T * (weights * p * (1.0 - p))) @ self.x + self.ridge * np.eye(self.d)

    def all(self, fit: Callable[[int, np.ndarray], np.ndarray]) -> np.ndarray:
        return np.array([fit(i, (np.arange(self.n) != i) * 1.0) for i in range(self.n)])

    def newton(self, theta: np.ndarray, weights: np.ndarray, target: float) -> np.ndarray:
        best, norm, slope = theta, np.inf, self.gradient(theta, weights)
        while np.linalg.norm(slope) < norm:
            best, norm = theta, np.linalg.norm(slope)
            if norm <= target:
                break
            theta = theta - np.linalg.solve(self.hessian(theta, weights), slope)
            slope = self.gradient(theta, weights)
        return best

    def trust_exact(self, i: int, weights: np.ndarray) -> np.ndarray:
        # Beyond gtol 1e-4 its ratio test meets rounding; Newton steps do the rest.
        args: Any = (self.value, self.start, (weights,), "trust-exact", self.gradient, self.hessian)
        return self.newton(minimize(*args, options={"gtol": 1e-4}).x, weights, self.targets[i])

    def hybr(self, i: int, weights: np.ndarray) -> np.ndarray:
        return root(self.gradient, self.start, (weights,), jac=self.hessian, tol=1e-12).x

    def scikit_learn(self, peer: Any, i: int) -> np.ndarray:
        peer.coef_, peer.intercept_, peer.classes_ = self.start[None].copy(), np.zeros(1), np.array([0.0, 1.0])
        return peer.fit(np.delete(self.x, i, axis=0), np.delete(self.y, i)).coef_[0]


@eqx.filter_jit
def all_paths(problem: Problem, theta: Any) -> Any:
    def one(i):
        return endpoints.path(problem.deleting(i[None]), jnp.array([1.0, 0.0]), start=theta, on_fold="stop").thetas[-1]

    return jax.lax.map(one, jnp.arange(problem.n))


def loo(repeats: int, ridge: float = 1.0) -> None:
    data = datasets.load("breast_cancer", intercept=True)
    problem = Problem(LogisticRegression(), data, delete=0, ridge=ridge)
    theta = endpoints.optimum(problem).theta
    refits = Refits(data, ridge, np.asarray(theta))
    truth = refits.all(lambda i, w: refits.newton(refits.start, w, 0.0))
    print(f"\nall {refits.n} leave-one-out optima from θ*: breast_cancer, logistic, d = {refits.d}, ridge {ridge:g}")
    jobs: dict[str, Callable[[], Any]] = {
        "leave_one_out_all": lambda: endpoints.leave_one_out_all(problem, theta=theta),
        "path of every point": lambda: all_paths(problem, theta),
    }
    ours = tuple(jobs)
    jobs["NumPy Newton, by hand"] = lambda: refits.all(lambda i, w: refits.newton(refits.start, w, refits.targets[i]))
    jobs["SciPy trust-exact + Newton"] = lambda: refits.all(refits.trust_exact)
    jobs["SciPy root, hybr"] = lambda: refits.all(refits.hybr)
    try:
        from sklearn.linear_model import LogisticRegression as Peer

        for solver, tol in (("newton-cholesky", 1e-12), ("lbfgs", 1e-14)):  # the loosest that meet the target, if any
            peer = Peer(C=1 / ridge, fit_intercept=False, solver=solver, tol=tol, max_iter=999, warm_start=True)
            jobs[f"scikit-learn {solver}"] = lambda peer=peer: refits.all(lambda i, w: refits.scikit_learn(peer, i))
    except ImportError:
        print("  scikit-learn is not installed: pip install 'homotopy[data]'")
    seconds: dict[str, float] = {}
    for name, job in jobs.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peers warn when rounding stops them; ‖∇‖ says how far they came
            found = np.asarray(job())
            seconds[name] = best_of(job, repeats if name in ours else 2)
        error, slopes = np.linalg.norm(found - truth, axis=1).max(), refits.all(lambda i, w: refits.gradient(found[i], w))
        stationary = (np.linalg.norm(slopes, axis=1) / refits.targets).max()
        told = "ratio " + ", ".join(f"{seconds[name] / seconds[k]:.1f}×" for k in ours if k in seconds)
        told = f"compile {compile_time(job, seconds[name]):.1f} s" if name in ours else told
        print(f"  {name:28s} {seconds[name]:7.3f} s, ‖θ−θ_ref‖ {error:.0e}, ‖∇‖/target {stationary:.0e}   {told}")
    print("  ratio: to leave_one_out_all and to the paths; ‖∇‖/target: the worst ‖∇R⁻‖/(1e-9·(1 + ‖∇ at the start‖))")


# Influence beside pyDVL ---------------------------------------------------------------------------------------------


def pydvl(repeats: int, damping: float = 0.01, count: int = 4) -> None:
    squared = Problem(MLP(width=8), datasets.load("diabetes"), delete=0, ridge=1.0)
    entropy = Problem(MLP(width=8), datasets.load("wine"), delete=0, loss=CrossEntropyLoss(), ridge=1.0)
    for problem, kind in ((squared, "exact"), (entropy, "gauss-newton")):
        trained = endpoints.optimum(problem, start=problem.initial(0), method="newton")
        theta = trained.theta
        matrix = np.asarray(problem.hessian(theta) if kind == "exact" else problem.gauss_newton(theta))
        matrix = matrix + problem.n * damping * np.eye(problem.dim)
        gradients = np.asarray(jax.jacrev(problem.losses)(theta))
        truth = gradients[:count] @ np.linalg.solve(matrix, gradients.T)
        rates = np.linalg.eigvalsh(matrix)
        scale = 1.05 * rates[-1]
        print(
            f"\ninfluence of {problem.n} points on {count}: {problem.data.name}, MLP(8), dim {problem.dim}, "
            f"{type(problem.loss).__name__}, {kind} matrix, ridge {float(problem.ridge):g}, damping {damping:g}\n"
            f"  ‖∇R‖ {float(trained.gradient_norm):.0e}, condition {rates[-1] / rates[0]:.0f}; error: "
            "‖M − M_exact‖_F/‖M_exact‖_F beside a dense NumPy solve"
        )
        lissa, arnoldi = endpoints.LiSSA(steps=1000, scale=scale), endpoints.Arnoldi(rank=50)
        solvers = {"cholesky": "cholesky", "cg": "cg", "gmres": "gmres", "lissa": lissa, "arnoldi": arnoldi}
        queries, seconds = Dataset(problem.data.x[:count], problem.data.y[:count]), {}
        options: Any = {"theta": theta, "hessian": kind, "damping": damping}
        for name, solver in ((solvers if kind == "exact" else {}) | {"ekfac": "ekfac"}).items():

            def job(problem=problem, queries=queries, options=options, solver=solver) -> Any:
                return endpoints.influence_matrix(problem, queries, solver=solver, **options)

            error = np.linalg.norm(np.asarray(job()) - truth) / np.linalg.norm(truth)
            seconds[name] = best_of(job, repeats)
            told = f"compile {compile_time(job, seconds[name]):.1f} s"
            print(f"  ours  {name:20s} error {error:.1e} {seconds[name] * 1e3:9.2f} ms   {told}")
        beside_pydvl(problem, np.asarray(theta), scale / problem.n, damping, truth, seconds)


def beside_pydvl(
    problem: Problem, theta: np.ndarray, scale: float, damping: float, truth: Any, ours: dict[str, float]
) -> None:
    """pyDVL's influence, from fit to values, with the weights copied; one thread, so small matrices are not slowed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torch
            from pydvl.influence import torch as peers
    except ImportError as error:
        print(f"  pyDVL is not installed, or lacks {error.name}: pip install 'homotopy[bench]', then --no-deps pyDVL")
        return
    from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

    torch.set_default_dtype(torch.float64)  # its EKFAC accumulates in the default type
    torch.set_num_threads(1)
    print("  beside " + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("pyDVL", "torch", "numpy")))
    shift, classes = damping + float(problem.ridge) / problem.n, sum(problem.output_shape)
    assert isinstance(problem.model, MLP)
    width, (n, features) = problem.model.width, problem.data.x.shape
    hidden, output = torch.nn.Linear(features, width), torch.nn.Linear(width, classes or 1)
    module = torch.nn.Sequential(hidden, torch.nn.Tanh(), output)
    torch.nn.utils.vector_to_parameters(torch.tensor(theta), module.parameters())  # the same order as θ
    x, y = torch.tensor(np.array(problem.data.x)), torch.tensor(np.array(problem.data.y))
    y = y.long() if classes else y[:, None]
    points: Any = TensorDataset(x, y)
    # All points as one batch, cut out at once; LiSSA makes a loader of its own, which collates them one by one.
    whole = DataLoader(points, batch_size=None, sampler=BatchSampler(SequentialSampler(points), n, False))

    def loss(found: Any, target: Any) -> Any:
        return 0.5 * torch.nn.functional.mse_loss(found, target)

    tight: Any = {"rtol": 1e-10, "atol": 1e-30}
    series: Any = {"maxiter": 1000, "scale": scale, "rtol": 1e-12, "warn_on_max_iteration": False}
    fits: dict[str, Callable[[], Any]] = {
        "direct": lambda: peers.DirectInfluence(module, loss, shift).fit(whole),
        "cg": lambda: peers.CgInfluence(module, loss, shift, **tight).fit(whole),
        "cg, simultaneous": lambda: peers.CgInfluence(module, loss, shift, solve_simultaneously=True, **tight).fit(whole),
        "lissa": lambda: peers.LissaInfluence(module, loss, shift, **series).fit(DataLoader(points, batch_size=n)),
        "arnoldi": lambda: peers.ArnoldiInfluence(module, loss, shift, rank=50).fit(whole),
        "arnoldi, Woodbury": lambda: peers.ArnoldiInfluence(module, loss, shift, rank=50, use_woodbury=True).fit(whole),
    }
    if classes:
        fits = {
            "ekfac": lambda: peers.EkfacInfluence(module, False, shift).fit(whole),
            "ekfac, diagonal updated": lambda: peers.EkfacInfluence(module, True, shift).fit(whole),
        }
    else:
        print("  pyDVL ekfac: not for this loss (its EkfacInfluence takes cross-entropy only); see the next network")
    for name, fit in fits.items():

        def job(fit=fit) -> Any:
            return fit().influences(x[: len(truth)], y[: len(truth)], x, y)

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, seconds = job().detach().numpy() / n, best_of(job, 2)
        except Exception as failure:  # a peer's failure is a result to print
            print(f"  pyDVL {name}: {type(failure).__name__}: {str(failure)[:200]}")
            continue
        error, key = np.linalg.norm(found - truth) / np.linalg.norm(truth), name.split(",")[0].replace("direct", "cholesky")
        told = f"ratio to our {key} {seconds / ours[key]:.1f}×"
        print(f"  pyDVL {name:24s} error {error:.1e} {seconds * 1e3:9.2f} ms   {told}")


# Memory -------------------------------------------------------------------------------------------------------------


def memory(repeats: int, points: int = 32, features: int = 98) -> None:
    print("\nmemory of an influence by CG (Gauss–Newton, damping 0.1, 32 points), beside θ, which takes 8·P bytes")
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((points, features)), rng.standard_normal(points))
    for width in (100, 1_000, 10_000):
        problem = Problem(MLP(width=width), data, delete=0)
        theta = problem.initial(0)

        def job(problem=problem, theta=theta) -> Any:
            return endpoints.influence(problem, theta=theta, hessian="gauss-newton", damping=0.1, solver="cg")

        found, own = job(), 8.0 * problem.dim
        working = endpoints.inverse_memory(problem, theta, "cg")["working"]
        peak = peak_memory(job)
        seen = "not measured (needs Linux)" if peak is None else f"{peak / 1e6:6.1f} MB = {peak / own:4.1f} θ"
        print(
            f"  P = {problem.dim:7d}: peak of a run {seen}, by the compiler's account {working / 1e6:5.1f} MB = "
            f"{working / own:.1f} θ (dense: {8e-9 * problem.dim**2:.2g} GB); residual {float(found.residual):.1e} in "
            f"{int(found.iterations)} steps, {best_of(job, 2):.2f} s"
        )


def peak_memory(job: Callable[[], Any]) -> float | None:
    """The largest resident memory during a (compiled) run beyond that before it, in bytes, by Linux's account."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = resident("VmRSS")
        jax.block_until_ready(jax.tree.leaves(job()))
        return resident("VmHWM") - before
    except OSError:
        return None


def resident(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(key))


SECTIONS: dict[str, Callable[[int], None]] = {"linear": linear, "loo": loo, "pydvl": pydvl, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=tuple(SECTIONS), help="run one section")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each of ours; the shortest counts")
    options = parser.parse_args()
    for name in SECTIONS if options.only is None else (options.only,):
        SECTIONS[name](options.repeats)


if __name__ == "__main__":
    main()
