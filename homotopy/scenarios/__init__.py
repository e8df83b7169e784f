"""The scenarios: one module per figure or experiment.

They are written in the folder `scenarios` at the top of the repository, and installed here; in a checkout, where this
folder holds nothing but this file, they are found there.
"""

from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2] / "scenarios"

if not any(path.name != Path(__file__).name for path in Path(__file__).parent.glob("*.py")):
    __path__ = [str(_CHECKOUT)]
