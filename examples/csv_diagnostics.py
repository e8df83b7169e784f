"""Leave-one-out diagnostics of a CSV file: which rows move the fit, exactly.

`python examples/csv_diagnostics.py [FOLDER] [FILE.csv TARGET]` draws leverage against residual. Without a file it makes one
in FOLDER, with one wrong entry. `homotopy diagnose --data FILE.csv --target TARGET` does the same in one command.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from homotopy import LinearRegression, Problem, datasets, diagnostics, leave_one_out_all, optimum
from homotopy.viz import plot_leverage


def make_table(path: Path) -> None:
    """Thirty flats: price by area and age. The area of row 7 has lost its decimal point."""
    rng = np.random.default_rng(0)
    area, age = rng.uniform(30, 120, 30), rng.uniform(0, 80, 30)
    price = 50 + 3 * area - 0.8 * age + rng.normal(0, 15, 30)
    area[7] *= 10
    rows = np.column_stack([area, age, price])
    np.savetxt(path, rows, fmt="%.2f", delimiter=",", header="area,age,price", comments="")


def main(folder: Path, file: Path | None = None, target: str = "price") -> None:
    if file is None:
        file = folder / "flats.csv"
        make_table(file)
    data = datasets.read_csv(file, target=target, intercept=True)
    problem = Problem(LinearRegression(), data, delete=0)  # every row is left out in turn, whichever is named here

    table = diagnostics(problem)
    print(table)  # the rows that are flagged, and by what

    moved = np.asarray(leave_one_out_all(problem)) - np.asarray(optimum(problem).theta)  # θ*₋ᵢ − θ*, (n, dim)
    row = int(np.argmax(np.abs(table.data["dffits"].values)))
    print(f"Without row {row} the coefficients change by {np.round(moved[row], 3)}.")

    figure, ax = plt.subplots(figsize=(6, 4.5), layout="constrained")
    levers, residuals = table.data["leverage"].values, table.data["internally_studentised"].values
    plot_leverage(levers, residuals, float(moved.shape[1]), ax, named=[row])  # p coefficients
    figure.savefig(folder / "csv_diagnostics.png", dpi=110)


if __name__ == "__main__":
    folder, *table = sys.argv[1:] or ["."]
    if table:
        main(Path(folder), Path(table[0]), table[1])
    else:
        main(Path(folder))
