"""What a computation leaves beside its numbers: how its solves ended and which data went in, said by the data set itself."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import _provenance

if TYPE_CHECKING:
    import xarray

_CODES, _DATASETS = "result_codes", "datasets"  # attributes of data.nc, as JSON


def record(data: "xarray.Dataset", *datasets: Any, codes: Mapping[str, int] | None = None) -> "xarray.Dataset":
    """`data` that says which `datasets` (`.name`, `.x`, `.y`) went in, by hash, and how many solves ended how.

    `codes`, e.g. `{"successful": 63, "max steps reached": 1}`; those that never occurred are left out.
    """
    kept = {str(code): int(count) for code, count in (codes or {}).items() if count}
    described = [_provenance.describe_dataset(one) for one in datasets]
    return data.assign_attrs({_CODES: json.dumps(kept), _DATASETS: json.dumps(described)})


def codes_of(data: "xarray.Dataset") -> dict[str, int]:
    """How many solves ended how."""
    return dict(json.loads(data.attrs.get(_CODES, "{}")))


def datasets_of(data: "xarray.Dataset") -> list[dict[str, Any]]:
    """Names, shapes and hashes of the data sets that went in."""
    return list(json.loads(data.attrs.get(_DATASETS, "[]")))
