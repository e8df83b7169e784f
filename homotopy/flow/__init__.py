"""How θ moves: schedules ε(t), the exact linear engine, the Diffrax engine, gradient descent, sensitivities."""

from ._arguments import as_jumps as as_jumps, as_weights as as_weights
from ._check import check as check
from ._greedy import Greedy as Greedy
from ._parse import describe as describe, parse as parse
from ._rosenbrock import Rodas5P as Rodas5P
from ._schedule import (
    AbstractSchedule as AbstractSchedule,
    BangBang as BangBang,
    Constant as Constant,
    CosineDecay as CosineDecay,
    ExponentialDecay as ExponentialDecay,
    LinearDecay as LinearDecay,
    NeuralSchedule as NeuralSchedule,
    PiecewiseConstant as PiecewiseConstant,
    PiecewiseLinear as PiecewiseLinear,
    PolynomialDecay as PolynomialDecay,
    Step as Step,
)
from ._sensitivity import sensitivity as sensitivity
from ._simulate import simulate as simulate
from ._surface import surface as surface
from ._trajectory import Sensitivity as Sensitivity, Surface as Surface, Trajectory as Trajectory
