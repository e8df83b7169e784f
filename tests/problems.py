"""Problems that carry their own closed forms, in NumPy and without any code of `homotopy.flow`.

`Linear` computes what mathematics §3 and §5 say for linear regression from X and y alone; the functions below make the
instances of §8 and small non-linear problems.
"""

import dataclasses

import numpy as np
import scipy.linalg

from homotopy import (
    MLP,
    CrossEntropyLoss,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    datasets,
)


@dataclasses.dataclass(frozen=True)
class Linear:
    """Linear regression from X (n, d), y (n,) or (n, outputs), the deleted rows and ρ; θ is flat, row by row."""

    x: np.ndarray
    y: np.ndarray
    delete: tuple[int, ...]
    theta0: np.ndarray
    ridge: float = 0.0

    @property
    def problem(self) -> Problem:
        return Problem(LinearRegression(), Dataset(self.x, self.y), delete=list(self.delete), ridge=self.ridge)

    def weights(self, epsilon):
        w = np.ones(len(self.x))
        w[list(self.delete)] = epsilon
        return w

    def hessian(self, epsilon=1.0):
        """XᵀWX ⊗ I + ρI."""
        small = self.x.T @ (self.weights(epsilon)[:, None] * self.x) + self.ridge * np.eye(self.x.shape[1])
        return np.kron(small, np.eye(1 if self.y.ndim == 1 else self.y.shape[1]))

    def drive(self, epsilon=1.0):
        """XᵀWy."""
        return (self.x.T @ (self.weights(epsilon) * self.y.T).T).reshape(-1)

    def limit(self, epsilon, theta0=None):
        """θ(∞) = H⁺b + (I − H⁺H)θ₀ (Lemma 0.0.1, corrected)."""
        theta0 = self.theta0 if theta0 is None else theta0
        hessian = self.hessian(epsilon)
        inverse = np.linalg.pinv(hessian, rcond=1e-11, hermitian=True)
        return inverse @ self.drive(epsilon) + (np.eye(len(theta0)) - inverse @ hessian) @ theta0

    def flow(self, epsilon, t, theta0=None):
        """θ(t) for constant ε by the exponential of the augmented matrix [[−H, b], [0, 0]], singular H included."""
        theta0 = self.theta0 if theta0 is None else theta0
        dim = len(theta0)
        block = np.zeros((dim + 1, dim + 1))
        block[:dim, :dim], block[:dim, dim] = -self.hessian(epsilon), self.drive(epsilon)
        return (scipy.linalg.expm(block * t) @ np.append(theta0, 1.0))[:dim]

    def bang_bang(self, switches, t, first=1.0):
        """θ(t) under ε = first, 1 − first, …, one exponential per arc."""
        theta, start, epsilon = self.theta0, 0.0, first
        for end in [*(s for s in switches if s < t), t]:
            theta = self.flow(epsilon, end - start, theta)
            start, epsilon = end, 1.0 - epsilon
        return theta


def scalar() -> Linear:
    """§8.1: θ*₋ = 1, θ(t) = e^{−(1+ε)t}θ₀ + (1−e^{−(1+ε)t})(2ε+1)/(1+ε); the step at ½ ln 3 reaches θ*₋ exactly."""
    return Linear(np.array([[1.0], [1.0]]), np.array([2.0, 1.0]), (0,), np.array([0.0]))


def isotropic(n: int = 6, d: int = 3, seed: int = 0) -> Linear:
    """§8.2: XᵀX = I."""
    rng = np.random.default_rng(seed)
    x = np.linalg.qr(rng.standard_normal((n, d)))[0]
    return Linear(x, rng.standard_normal(n), (1,), rng.standard_normal(d))


def identity(d: int = 3, seed: int = 0) -> Linear:
    """§8.3: X = I_d, so that deleting a point leaves a singular H₋."""
    rng = np.random.default_rng(seed)
    return Linear(np.eye(d), rng.standard_normal(d), (0,), rng.standard_normal(d))


def random_ols(n: int = 8, d: int = 3, seed: int = 0, **options) -> Linear:
    """Full rank, distinct eigenvalues."""
    rng = np.random.default_rng(seed)
    options = {"delete": (2,), **options}
    return Linear(rng.standard_normal((n, d)), rng.standard_normal(n), theta0=rng.standard_normal(d), **options)


def rank_deficient(n: int = 3, d: int = 6, seed: int = 1) -> Linear:
    """n < d: H has a null space of d − n dimensions, and of one more without the deleted point."""
    rng = np.random.default_rng(seed)
    return Linear(rng.standard_normal((n, d)), rng.standard_normal(n), (0,), rng.standard_normal(d))


def multi_output(n: int = 7, d: int = 2, outputs: int = 3, seed: int = 2) -> Linear:
    """Several targets: every eigenvalue of H is repeated. Two points are deleted."""
    rng = np.random.default_rng(seed)
    theta0 = rng.standard_normal(d * outputs)
    return Linear(rng.standard_normal((n, d)), rng.standard_normal((n, outputs)), (0, 4), theta0)


LINEAR = {
    "scalar": scalar,
    "isotropic": isotropic,
    "identity": identity,
    "random": random_ols,
    "ridge": lambda: random_ols(ridge=0.3),
    "rank-deficient": rank_deficient,
    "multi-output": multi_output,
}


def logistic(n: int = 12, d: int = 3, seed: int = 3) -> Problem:
    """Binary labels that no hyperplane separates."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    y = (x[:, 0] + rng.standard_normal(n) > 0).astype(int)
    return Problem(LogisticRegression(), Dataset(x, y), delete=[0, 5], ridge=0.1)


def softmax(n: int = 10, d: int = 2, classes: int = 3, seed: int = 4) -> Problem:
    """Multi-class logistic regression."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    data = Dataset(rng.standard_normal((n, d)), y)
    return Problem(LogisticRegression(), data, delete=1, loss=CrossEntropyLoss(), ridge=0.05)


def teacher_student(n: int = 10, width: int = 3, **options) -> Problem:
    """The notes' Figure 3 in small: a 3-neuron tanh network learns one."""
    return Problem(MLP(width=width), datasets.teacher_student(n=n, width=width, seed=0), delete=4, **options)


def vector_network(n: int = 6, seed: int = 5) -> Problem:
    """Two hidden layers, two inputs, two outputs."""
    rng = np.random.default_rng(seed)
    data = Dataset(rng.standard_normal((n, 2)), rng.standard_normal((n, 2)))
    return Problem(MLP(width=2, depth=2, activation="softplus"), data, delete=0, ridge=0.01)


NON_LINEAR = {
    "logistic": logistic,
    "softmax": softmax,
    "teacher-student": teacher_student,
    "vector network": vector_network,
}
