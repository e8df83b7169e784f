"""Scenarios called from Python, as the command line calls them."""

import importlib

import matplotlib.pyplot as plt

from homotopy.run import Progress


def run_scenario(scenario, **settings):
    """The result of a scenario (its name, or its module) with its own settings but for `settings`."""
    module = importlib.import_module(f"scenarios.{scenario}") if isinstance(scenario, str) else scenario
    result = module.run(module.Settings(**settings), Progress())
    plt.close("all")
    return result
