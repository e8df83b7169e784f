"""Experiments of several parts in one data set: every part's variables and dimensions carry its name."""

from collections.abc import Collection, Mapping

import xarray as xr


def joined(parts: Mapping[str, xr.Dataset], shared: Collection[str] = ()) -> xr.Dataset:
    """`x` of the part `name` becomes `x_name`, as do its dimensions; the `shared` ones are the same in all parts."""
    return xr.merge(
        part.rename({old: f"{old}_{name}" for old in {*part.variables, *part.dims} if old not in shared})
        for name, part in parts.items()
    )


def part_of(data: xr.Dataset, name: str) -> xr.Dataset:
    """The part `name` of what was `joined`."""
    ending = f"_{name}"
    here = data[[old for old in data.variables if str(old).endswith(ending)]]
    return here.rename({old: str(old).removesuffix(ending) for old in {*here.variables, *here.dims}})
