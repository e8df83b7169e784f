"""Scenarios called from Python, as the command line calls them."""

import importlib
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import matplotlib.pyplot as plt

from homotopy.run import Progress, codes_of
from homotopy.run._save import read_data, save_data


def run_scenario(scenario, **settings):
    """Numbers, pictures and words of a scenario (its name, or its module) with its own settings but for `settings`.

    Pictures and words are those of the numbers as they are read back from disk.
    """
    module = importlib.import_module(f"homotopy.scenarios.{scenario}") if isinstance(scenario, str) else scenario
    settings = module.Settings(**settings)
    data = module.compute(settings, Progress())
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.nc"
        save_data(data, path)
        data = read_data(path)
    figures, summary = module.draw(data, settings), module.tell(data, settings)
    plt.close("all")
    return SimpleNamespace(data=data, figures=figures, summary=summary, result_codes=codes_of(data))
