"""Where θ should arrive: optima, leave-one-out, influence, response functions, the path θ(ε), the five gaps."""

from ._align import align as align
from ._all import leave_one_out_all as leave_one_out_all, leave_one_out_proof as leave_one_out_proof
from ._curvature import Curvature as Curvature
from ._decompose import (
    GAPS as GAPS,
    ErrorDecomposition as ErrorDecomposition,
    decompose_error as decompose_error,
    decompose_errors as decompose_errors,
)
from ._derivatives import (
    ThetaDotChange as ThetaDotChange,
    theta_ddot as theta_ddot,
    theta_dot as theta_dot,
    theta_dot_change as theta_dot_change,
)
from ._diagnostics import Diagnostics as Diagnostics, diagnostics as diagnostics
from ._ekfac import EKFAC as EKFAC
from ._endpoint import (
    Endpoint as Endpoint,
    FlaggedRowsWarning as FlaggedRowsWarning,
    NotStationaryWarning as NotStationaryWarning,
    Outcome as Outcome,
    require_dense as require_dense,
)
from ._frame import null_losses as null_losses
from ._influence import (
    Influence as Influence,
    corrected_influence as corrected_influence,
    influence as influence,
    newton_estimate as newton_estimate,
)
from ._inverse import (
    CG as CG,
    GMRES as GMRES,
    AbstractInverse as AbstractInverse,
    Arnoldi as Arnoldi,
    Cholesky as Cholesky,
    LiSSA as LiSSA,
)
from ._leverage import cooks_distance as cooks_distance, leverage as leverage
from ._matrix import (
    SolverWarning as SolverWarning,
    influence_matrix as influence_matrix,
    query_gradients as query_gradients,
    self_influence as self_influence,
    weight_jacobian as weight_jacobian,
)
from ._optimum import leave_one_out as leave_one_out, optimum as optimum
from ._path import Path as Path, path as path
from ._points import loss_derivatives as loss_derivatives, loss_gradients as loss_gradients, point as point
from ._response import bregman as bregman, pbrf as pbrf, pbrf_linearised as pbrf_linearised, response as response
from ._solvers import inverse_memory as inverse_memory, solve_rows as solve_rows
from ._spectrum import largest_eigenvalue as largest_eigenvalue
from ._weighted import least_norm_fits as least_norm_fits, weighted_minima as weighted_minima
