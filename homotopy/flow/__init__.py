"""How θ moves: schedules ε(t), the exact linear engine, the Diffrax engine, gradient descent, sensitivities."""

from ._abstract import AbstractSchedule as AbstractSchedule, load as load
from ._arcs import Reversed as Reversed, arc_edges as arc_edges
from ._arguments import as_jumps as as_jumps, as_weights as as_weights
from ._check import check as check
from ._descent import (
    PointWeights as PointWeights,
    RemovalWeights as RemovalWeights,
    ScheduleWeights as ScheduleWeights,
    StepWeights as StepWeights,
    compiled_descent as compiled_descent,
    descent as descent,
    descent_step as descent_step,
)
from ._diffrax import Dense as Dense, advice as advice, choose_solver as choose_solver, integrate as integrate
from ._greedy import Greedy as Greedy
from ._parse import describe as describe, parse as parse
from ._point_schedules import PointSchedules as PointSchedules
from ._rosenbrock import Rodas5P as Rodas5P
from ._schedule import (
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
from ._simulate import MAX_STEPS as MAX_STEPS, simulate as simulate
from ._surface import surface as surface
from ._trajectory import Sensitivity as Sensitivity, Surface as Surface, Trajectory as Trajectory
