"""Names of the entries of θ, from the names of the columns."""

from ._dataset import Dataset
from ._models import MLP, AbstractModel, LinearRegression, LogisticRegression


def parameter_names(model: AbstractModel, data: Dataset, output_shape: tuple[int, ...]) -> tuple[str, ...]:
    """One name per entry of θ: the column (`a`, or `a → y1` with several outputs, `a → class 1` with several classes);
    of a network `w1[0, a]`, `b1[0]`, …: layer, neuron and input. Of other models the index."""
    if isinstance(model, LinearRegression | LogisticRegression):
        if not output_shape:
            return data.columns
        classes = data.y.ndim == 1
        outputs = [f"class {k}" for k in range(output_shape[0])] if classes else data.targets
        return tuple(f"{column} → {output}" for column in data.columns for output in outputs)
    if isinstance(model, MLP):
        names: list[str] = []
        inputs: tuple[str, ...] = data.columns
        for layer in range(1, model.depth + 2):
            last = layer == model.depth + 1
            neurons = tuple(str(k) for k in range((output_shape or (1,))[0] if last else model.width))
            names += [f"w{layer}[{neuron}, {source}]" for neuron in neurons for source in inputs]
            names += [f"b{layer}[{neuron}]" for neuron in neurons]
            inputs = neurons
        return tuple(names)
    return tuple(str(index) for index in range(model.size(data.features, output_shape)))
