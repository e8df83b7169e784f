"""`Path`: optima θ(ε) along a path of weights, with the proof of each and how the branch ended."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._endpoint import Outcome
from ._straightness import chord_over_arc, largest_deviation


class Path(eqx.Module):
    """θ(ε) at the requested ε: `epsilons` (m,) or (m, |J|), `thetas` (m, dim), and the proof of each row:
    `gradient_norms` ‖∇R_ε‖, `smallest_eigenvalues` of H_ε, `steps` predictor–corrector steps to get there, `outcome` an
    `Outcome`: CONVERGED, or from where the branch has ended FOLD, INFINITE, or (convex risks) IMPRECISE.

    `branches` counts the folds passed so far (0 on the branch of the start; it grows only with on_fold="switch").
    `fold_epsilon` is where the (first) fold was met, NaN if none; with on_fold="stop" the rows after it hold `inf`, as
    they do where θ(ε) → ∞. Mathematics §4; notes, Figure 3; made by `path`, which raises.

    Example (continues the package's):

        >>> branch = path(problem, [1.0, 0.75, 0.5, 0.25, 0.0])
        >>> print(branch.thetas.shape, branch.folded, branch.straightness.round(6), bool(branch.max_deviation < 1e-9))
        (5, 2) False 1.0 True
    """

    epsilons: Float[Array, "m ..."]
    thetas: Float[Array, "m dim"]
    gradient_norms: Float[Array, " m"]
    smallest_eigenvalues: Float[Array, " m"]
    steps: Int[Array, " m"]
    branches: Int[Array, " m"]
    fold_epsilon: Float[Array, "..."]
    outcome: Int[Array, " m"]

    @property
    def folded(self) -> bool:
        """Whether a fold was met."""
        return bool(jnp.isnan(self.fold_epsilon).any() ^ True)

    @property
    def straightness(self) -> Float[Array, ""]:
        """Chord over arc length, in (0, 1]: 1 for a straight segment. The arc is the polygon's, so ask for many ε."""
        return chord_over_arc(self._reached)

    @property
    def max_deviation(self) -> Float[Array, ""]:
        """The largest distance of θ(ε) from the chord, relative to the chord's length: 0 for a straight segment."""
        return largest_deviation(self._reached)

    @property
    def _reached(self) -> Float[Array, "reached dim"]:
        return self.thetas[jnp.isfinite(self.thetas).all(axis=1)]

    def __str__(self) -> str:
        fold = f", fold at ε ≈ {np.asarray(self.fold_epsilon)}" if self.folded else ""
        if bool((self.outcome == int(Outcome.INFINITE)).any()):
            fold += f", {Outcome.INFINITE.words}"
        return (
            f"path of {self.thetas.shape[0]} optima: largest ‖∇‖ {float(jnp.max(self.gradient_norms)):.1e}, smallest "
            f"λ_min {float(jnp.min(self.smallest_eigenvalues)):.3g}, chord/arc {float(self.straightness):.6f}{fold}"
        )
