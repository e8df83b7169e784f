"""Which ε(t): the energy of a schedule, the best one of a family, what Pontryagin's principle says of it, and a proof."""

from ._bang_bang import search_bang_bang as search_bang_bang
from ._batch import BangBangFlow as BangBangFlow, SearchTable as SearchTable, search_all as search_all
from ._certificate import Certificate as Certificate
from ._dual import dual_bound as dual_bound
from ._energy import energy as energy
from ._families import (
    FAMILIES as FAMILIES,
    AbstractFamily as AbstractFamily,
    GreedyFeedback as GreedyFeedback,
    Knots as Knots,
    Levels as Levels,
    Linear as Linear,
    Neural as Neural,
    Parametric as Parametric,
    Polynomial as Polynomial,
    Switches as Switches,
)
from ._gain import gains as gains, spoken_gain as spoken_gain
from ._linear import LinearControl as LinearControl, linear_control as linear_control
from ._pontryagin import (
    costate as costate,
    pontryagin_residual as pontryagin_residual,
    switching_function as switching_function,
)
from ._result import Arc as Arc, SearchResult as SearchResult
from ._search import search as search
from ._switching import Bang as Bang, Window as Window, window as window
from ._value_function import value_function_bound as value_function_bound
