"""The border: arrays become tensors, seeds become generators, models are trained and applied.

Arrays are called X, tensors x. Everything that comes from here to the estimators is an array, a
plain value, or a trained module, which rests on the CPU in eval mode.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from ._columns import resolve_likelihood
from ._devices import (
    device_with_float64,
    inferring,
    limited_threads,
    on_cpu,
    resolve_device,
    shielded,
)
from ._latent_model import LatentModel
from ._rows import GATHERED_BYTES, BlockRows, Part, Rows, RowsInMemory, shuffled
from ._training import History, Plan, train
from .likelihoods import Likelihood, class_of

# Rows larger than this are not copied into memory for training, but read block by block.
IN_MEMORY_BYTES = 2**26
# Rows from which means of features, and what is learned of a trained model, are taken.
MANY_ROWS = 2_000
# The same of what is hidden, where it takes many passes to fill that.
ROWS_TO_REFILL = 256
# Held-out rows from which a value for each feature is estimated, else one for all of them.
ENOUGH_ROWS = 100
# Rows of the PCA that training starts from, and how many numbers they may hold.
START_ROWS, START_CELLS = 10_000, 2**20
# Bytes that the intermediate results of a batch take when a method runs over rows: as many as
# stay in the cache, but more for a few rows that need much, to a limit.
CACHED_BYTES, BATCH_BYTES, A_FEW_ROWS = 2**22, 2**25, 128

LikelihoodParameter = str | type[Likelihood]


def as_array(X: Any) -> Any:
    """Return a tensor as an array, one with a mask with gaps, anything else as it is."""
    if isinstance(X, np.ma.MaskedArray) and X.mask.any():
        return np.ma.filled(X.astype(np.result_type(X.dtype, np.float32)), np.nan)
    if not isinstance(X, Tensor):
        return X
    x = X.detach().cpu()
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()


# --------------------------------------------------------------------------------------- seeds


def spawn_seeds(seed: int, n: int) -> list[int]:
    """Return n seeds of independent streams, from one."""
    return [int(s.generate_state(1)[0]) for s in np.random.SeedSequence(seed).spawn(n)]


class Seeds(NamedTuple):
    """The seeds of a fit.

    weights, order, noise : of the first weights, of the order of rows, and of the noise in steps.
    scaling, after : of the rows that scaling is learned from, and of what is read off the model.
    """

    weights: int
    order: int
    noise: int
    scaling: int
    after: int

    @classmethod
    def spawn(cls, seed: int) -> Seeds:
        """Return seeds of independent streams, from one."""
        return cls(*spawn_seeds(seed, len(cls._fields)))


def _generator(seed: int, device: torch.device | str = "cpu") -> Generator:
    return Generator(device).manual_seed(seed)


# ----------------------------------------------------------------------------------------- fit


def unsupported(
    likelihood: LikelihoodParameter, X: NDArray, columns: Sequence[int], to_learn: bool
) -> tuple[int, float] | None:
    """Return one of these columns and a value in it outside the support; None without one.

    What there is to learn from may be less than what a density can be given for.
    """
    resolved = resolve_likelihood(likelihood)
    if not resolved.has_own("accepts"):  # what is finite, as X is known to be
        return None
    for x in _some_columns(X, columns):
        allowed = resolved.accepts(x) if to_learn else resolved.judges(x)
        refused = (~allowed & ~torch.isnan(x)).nonzero()
        if len(refused):
            row, column = refused[0].tolist()
            return columns[column], x[row, column].item()
    return None


def redraws(likelihood: LikelihoodParameter, X: NDArray, columns: Sequence[int]) -> bool:
    """Tell whether values in these columns stand for draws, so that `redraw` changes them."""
    if not class_of(likelihood).has_own("redraw"):
        return False
    resolved, generator = resolve_likelihood(likelihood), _generator(0)
    parts = _some_columns(X, columns)
    return any(bool((resolved.redraw(x, generator) != x)[~x.isnan()].any()) for x in parts)


def _some_columns(X: NDArray, columns: Sequence[int]) -> Iterator[Tensor]:
    """Yield these columns of X, some rows at a time."""
    size = max(1, BATCH_BYTES // (8 * X[0].nbytes))
    for start in range(0, len(X), size):
        yield torch.from_numpy(X[start : start + size][:, list(columns)])


def fit(
    build: Callable[[], LatentModel],
    X: NDArray,
    forward: Callable[[NDArray], NDArray],
    sample_weight: NDArray | None,
    plan: Plan,
    *,
    n_held_out: int,
    dtype: str,
    device: str,
    seeds: Seeds,
    start: LatentModel | None,
    report: Callable[[History, Callable[[], LatentModel]], bool],
) -> tuple[LatentModel, History]:
    """Train a model on rows of X, which `forward` brings to working units.

    The model is returned on the CPU in eval mode. It starts from the weights of `start` if that
    is given. `report` gets what happened so far and a function that returns a frozen copy of the
    model, once an epoch.
    """
    torch_dtype, cpu = getattr(torch, dtype), torch.device("cpu")
    with shielded(cpu):
        model = on_cpu(build).to(torch_dtype)
        # Half of the weights are the decoder's, through which every draw goes.
        work = 1.5 * plan.batch_size * model.n_weights * (1 + model.n_training_draws)
        where = resolve_device(device, work)
        row_bytes = max(X[0].nbytes, torch_dtype.itemsize * model.columns.n_cells)
        read = _reader(X, row_bytes, forward, sample_weight, torch_dtype, where)
        rows = _split(len(X), row_bytes, read, held_out(len(X), n_held_out, seeds))
        if isinstance(rows, RowsInMemory):
            _forget_new_levels(model, rows.train.x, rows.held_out.x)
        on_cpu(lambda: _initialize(model, rows, start, _generator(seeds.weights)))
    with shielded(where), limited_threads(work):
        model = model.to(where)
        generators = (_generator(seeds.order), _generator(seeds.noise, where))
        finished = functools.partial(_finished, model, rows, seeds.noise)
        history = train(model, rows, plan, generators, lambda history: report(history, finished))
        return finished(), history


def _initialize(
    model: LatentModel, rows: Rows, start: LatentModel | None, generator: Generator
) -> None:
    """Let the model start from another, or from a PCA of rows, or at random about their mean."""
    by_pca = model.starts_linear and start is None
    n_rows = max(1, min(START_ROWS, START_CELLS // model.n_inputs)) if by_pca else MANY_ROWS
    some = _to_cpu(rows.some(n_rows))
    mean = _mean(some)
    model.initialize(generator, mean)
    model.note_values(_sorted_columns(some.x[:: -(-len(some.x) // MANY_ROWS)]))
    if start is not None:
        model.start_from(start)
    elif by_pca:
        model.start_from_rows(*some, mean, generator)


def _sorted_columns(x: Tensor) -> Tensor:
    """Return each column of x in ascending order, in a tenth of the time that torch would take."""
    return torch.from_numpy(np.sort(x.t().contiguous().numpy())).t()


def _reader(
    X: NDArray,
    row_bytes: int,
    forward: Callable[[NDArray], NDArray],
    sample_weight: NDArray | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Callable[[Tensor], Part]:
    """Return the function that brings rows of X with given indices to the device."""
    weight = None
    if sample_weight is not None:
        weight = torch.from_numpy(sample_weight / sample_weight.mean()).to(dtype)[:, None]

    n_rows = max(1, GATHERED_BYTES // row_bytes)

    def read(indices: Tensor) -> Part:
        x = _in_working_units(X, indices.split(n_rows), forward, dtype).to(device)
        return Part(x, None if weight is None else weight[indices].to(device))

    return read


def _in_working_units(
    X: NDArray,
    parts: Sequence[Tensor],
    forward: Callable[[NDArray], NDArray],
    dtype: torch.dtype,
) -> Tensor:
    """Return rows of X, mapped a few at a time: what is made on the way stays in the cache."""
    x = _finite(torch.from_numpy(forward(X[parts[0].numpy()])).to(dtype))
    if len(parts) == 1:
        return x
    whole = x.new_empty(sum(map(len, parts)), x.shape[1])
    for part, place in zip(parts, whole.split(len(x)), strict=True):
        place.copy_(_finite(torch.from_numpy(forward(X[part.numpy()])).to(dtype)))
    return whole


def _finite(x: Tensor) -> Tensor:
    """Return x, where NaN is a gap; a value too large for its dtype is an error."""
    if not torch.isfinite(x.sum()) and torch.isinf(x).any():
        name = str(x.dtype).removeprefix("torch.")
        raise ValueError(
            f"X has values too large for dtype({name!r}), even after scaling; use "
            "scaling='standard', or dtype='float64'."
        )
    return x


def held_out(n_rows: int, n_held_out: int, seeds: Seeds) -> NDArray:
    """Return the indices of the rows that a fit with these seeds holds out, in random order."""
    return shuffled(n_rows, _generator(seeds.order))[:n_held_out].numpy()


def _split(n_rows: int, row_bytes: int, read: Callable[[Tensor], Part], held_out: NDArray) -> Rows:
    """Hold rows out, and decide whether the others are kept in memory."""
    is_held_out = torch.zeros(n_rows, dtype=torch.bool, device="cpu")
    order = torch.from_numpy(held_out)
    is_held_out[order] = True
    if n_rows * row_bytes > IN_MEMORY_BYTES:
        return BlockRows(read, is_held_out, row_bytes)
    return RowsInMemory(read((~is_held_out).nonzero()[:, 0]), read(order))


def _forget_new_levels(model: LatentModel, x: Tensor, held_out: Tensor) -> None:
    """Let held-out cells be unknown whose levels no training row has.

    What cannot be learned would else end training before the rest is.
    """
    unknown = math.nan if model.masks else 0.0
    held_out.masked_fill_(model.columns.of_new_levels(held_out, x), unknown)


def _mean(part: Part) -> Tensor:
    """Return the (weighted) mean of the known cells of rows, zero where none is."""
    x, weight = part
    known = (~torch.isnan(x)).to(x.dtype)
    if weight is not None:
        known = known * weight
    return (x.nan_to_num() * known).sum(0) / known.sum(0).clamp(min=1e-30)


def _finished(model: LatentModel, rows: Rows, seed: int) -> LatentModel:
    """Return a frozen copy whose likelihood fits the rows that were held out.

    The error on training rows is too small: with it, new rows would look unlikely. Few held-out
    rows tell by how much, on the mean of the features.
    """
    model, few = frozen(model), rows.n_held_out < ENOUGH_ROWS
    with inferring(torch.device("cpu")):
        some, held_out = _to_cpu(rows.some(MANY_ROWS)), _to_cpu(rows.some_held_out(MANY_ROWS))
        if few:
            model.fit_shared(*some, _generator(seed))
        if rows.n_held_out:
            learned = model.shared.clone()
            model.fit_shared(*held_out, _generator(seed))
            if few:
                model.scale_variances(learned)
        # What is hidden is nearly as hard to tell in rows of the training, and few tell little.
        telling = some.join(held_out) if few else held_out
        n = MANY_ROWS if model.masks else ROWS_TO_REFILL
        model.fit_gaps(*telling.some(n), _generator(seed))
        model.fit_codes(*some)
    return model


def _to_cpu(part: Part) -> Part:
    return Part(part.x.cpu(), None if part.weight is None else part.weight.cpu())


def frozen(model: LatentModel) -> LatentModel:
    """Return a copy on the CPU in eval mode; its parameters own their memory."""
    copied = on_cpu(lambda: type(model)(**model.config)).to(_dtype(model))
    copied.load_state_dict({k: v.detach().cpu().clone() for k, v in model.state_dict().items()})
    return copied.eval().requires_grad_(False)


# ----------------------------------------------------------------------------------- inference


def twin(module: LatentModel) -> LatentModel:
    """Return a copy of the module in the other of float32 and float64."""
    other = torch.float64 if _dtype(module) == torch.float32 else torch.float32
    return copy.deepcopy(module).to(other)


def _dtype(module: LatentModel) -> torch.dtype:
    return module.shared.dtype


def in_dtype(dtype: np.typing.DTypeLike, *modules: LatentModel) -> LatentModel:
    """Return the one of these modules that computes in this dtype of NumPy's, float32 or 64."""
    size = np.dtype(dtype).itemsize
    return next(m for m in modules if _dtype(m).itemsize == size)


def run(
    module: LatentModel,
    verb: str,
    X: NDArray,
    forward: Callable[[NDArray], NDArray] = np.array,
    device: str = "cpu",
    *args: object,
) -> NDArray:
    """Apply a method of the module to rows, batch by batch; array in, array out.

    `forward` brings rows to working units; the method gets `args` after them.
    """
    row_bytes = X.itemsize * module.breadth(verb)
    size = max(1, min(max(CACHED_BYTES // row_bytes, A_FEW_ROWS), BATCH_BYTES // row_bytes))
    work = 0.5 * min(size, len(X)) * module.n_weights * module.n_passes(verb)
    where = device_with_float64(resolve_device(device, work))
    if where.type != "cpu":
        module = copy.deepcopy(module).to(where)
    # Some rows take as long to be mapped as one, where columns are many.
    few = min(A_FEW_ROWS, BATCH_BYTES // (X.itemsize * module.columns.n_cells))
    parts, n_mapped = [], size * max(1, few // size)
    with inferring(where):
        for start in range(0, max(1, len(X)), n_mapped):
            x = torch.from_numpy(forward(X[start : start + n_mapped])).to(where)
            parts += [getattr(module, verb)(some, *args).cpu() for some in x.split(size)]
        return (parts[0].contiguous() if len(parts) == 1 else torch.cat(parts)).numpy()


def draw_prior(module: LatentModel, n_samples: int, seed: int) -> NDArray:
    """Draw codes from N(0, I)."""
    n_components = module.config["n_components"]
    x = torch.empty(n_samples, n_components, dtype=_dtype(module), device="cpu")
    return x.normal_(generator=_generator(seed)).numpy()


def draw_rows(module: LatentModel, Z: NDArray, seed: int, X: NDArray | None = None) -> NDArray:
    """Draw a row from p(x | z) for each code; with a row X, in working units, for its gaps."""
    generator = _generator(seed)
    with inferring(torch.device("cpu")):
        z = torch.from_numpy(Z).to(_dtype(module))
        known = None if X is None else module.see(torch.from_numpy(X).to(_dtype(module))).cells
        parts = [module.draw(part, generator, known) for part in _parts_to_decode(module, z)]
        return torch.cat(parts).numpy()


def _parts_to_decode(module: LatentModel, z: Tensor) -> Sequence[Tensor]:
    return z.split(max(1, BATCH_BYTES // (z.itemsize * module.breadth("decode"))))


def complete(
    module: LatentModel,
    X: NDArray,
    forward: Callable[[NDArray], NDArray],
    n_draws: int,
    seed: int,
) -> NDArray:
    """Draw completed rows in working units, shape (n_samples, n_draws, n_cells)."""
    return run(module, "complete", X, forward, "cpu", n_draws, _generator(seed))


def draw_codes_given(
    module: LatentModel, X: NDArray, Z: NDArray, n_samples: int, seed: int
) -> tuple[NDArray, float]:
    """Draw codes again, with weights p(x | z) of what is known of a row X in working units.

    Returned is also how many codes of equal weight would tell as much.
    """
    with inferring(torch.device("cpu")):
        x, z = (torch.from_numpy(A).to(_dtype(module)) for A in (X, Z))
        parts = [module.log_prob_given(x, part) for part in _parts_to_decode(module, z)]
        log_weight = torch.cat(parts)
        if not torch.isfinite(log_weight.max()):
            raise ValueError("The conditions are impossible, or too far from all training rows.")
        weight = log_weight.softmax(0)
        chosen = torch.multinomial(weight, n_samples, True, generator=_generator(seed))
        return Z[chosen.numpy()], 1 / weight.square().sum().item()


# --------------------------------------------------------------------------------- persistence


def pack(module: LatentModel) -> dict:
    """Return a module as plain values and arrays."""
    arrays = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    return {"config": module.config, "arrays": arrays}


def unpack(cls: type[LatentModel], state: dict) -> LatentModel:
    """Build the module from what `pack` returned; damaged arrays are a ValueError."""
    arrays = {name: torch.from_numpy(np.array(value)) for name, value in state["arrays"].items()}
    module = on_cpu(lambda: cls(**state["config"])).to(arrays["shared"].dtype)
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in arrays.items()}
    if wanted != got or not all(torch.isfinite(value).all() for value in arrays.values()):
        raise ValueError(
            "The state of the model is damaged, or of another version of skvae: shapes disagree "
            "or weights are not finite."
        )
    module.load_state_dict(arrays)
    return module.eval().requires_grad_(False)
