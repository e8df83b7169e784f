"""The claims of the notes, one file for each family."""

from ._attribution import H20, H21, H22
from ._decay import H17
from ._flow import H07, H08, H09
from ._greedy import H16
from ._influence import H01, H04
from ._networks import H02, H03, H06
from ._schedules import H12, H13, H14, H15
from ._steps import H10, H11
from ._theta_dot import H05, H18
from ._unlearning import H19, H23

HYPOTHESES = (
    H01, H02, H03, H04, H05, H06, H07, H08, H09, H10, H11, H12, H13, H14, H15, H16, H17, H18, H19, H20, H21, H22, H23,
)  # fmt: skip
