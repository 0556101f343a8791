"""Two sides and a border: which file may import what, and what `import skvae` brings along."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import skvae

PACKAGE = Path(skvae.__file__).parent
SKLEARN_SIDE = {"sklearn", "numpy", "scipy", "narwhals"}
SKLEARN_FILES = {
    "_base",
    "_fitting",
    "_autoencoder",
    "_vae",
    "_table",
    "_scaling",
    "_marginal",
    "_knots",
    "_outliers",
    "_validation",
    "_latent",
    "_gaps",
    "_blocks",
    "_cells",
    "_schema",
    "_series",
    "_arrays",
    "_progress",
    "_defaults",
    "_version",
}
# The files of the torch side, from the top down: each may import those after it.
TORCH_FILES = ["_engine", "_devices", "_training", "_step", "_optimizer", "_rows"]
TORCH_FILES += [
    "_autoencoder_model",
    "_vae_model",
    "_latent_model",
    "_bounds",
    "_importance",
    "_principal",
    "_kernel_density",
    "_networks",
    "_columns",
    "likelihoods",
]
TORCH_FILES += ["_ordinal", "_censored", "_real", "_discrete", "_likelihood", "_noise", "_scalars"]
TORCH_FILES += ["_warn"]
ALLOWED = {
    "__init__": {"_autoencoder", "_vae", "_version", "likelihoods"},
    "_autoencoder": SKLEARN_SIDE
    | {"_arrays", "_autoencoder_model", "_base", "_defaults", "_latent", "_validation"},
    "_vae": SKLEARN_SIDE
    | {"_base", "_blocks", "_defaults", "_engine", "_vae_model", "_validation", "_warn"},
    "_base": SKLEARN_SIDE
    | {
        "_blocks",
        "_cells",
        "_engine",
        "_fitting",
        "_gaps",
        "_networks",
        "_progress",
        "_quantile_maps",
        "_schema",
        "_arrays",
        "_table",
        "_validation",
    }
    | {"_version", "_warn", "likelihoods"},
    "_fitting": {
        "numpy",
        "_blocks",
        "_defaults",
        "_engine",
        "_gaps",
        "_outliers",
        "_progress",
        "_quantile_maps",
        "_schema",
        "_arrays",
        "_table",
        "_training",
    },
    "_table": SKLEARN_SIDE | {"_knots", "_marginal", "_scaling", "_arrays"},
    "_knots": {"numpy", "scipy"},
    "_scaling": {"numpy", "sklearn", "_arrays", "_warn"},
    "_marginal": {"numpy", "scipy", "_knots"},
    "_quantile_maps": {"numpy", "_knots", "_marginal"},
    "_arrays": {"numpy", "sklearn"},
    "_cells": {"numpy", "sklearn", "_engine", "_validation", "_warn"},
    "_blocks": {"numpy", "sklearn", "_arrays", "_engine", "_table", "likelihoods"},
    "_schema": {"numpy", "narwhals", "_series", "_warn"},
    "_series": {"numpy", "narwhals"},
    "_outliers": {"numpy", "sklearn", "_arrays"},
    "_validation": SKLEARN_SIDE,
    "_latent": SKLEARN_SIDE | {"_arrays"},
    "_gaps": SKLEARN_SIDE | {"_arrays"},
    "_warn": set(),
    "_progress": {"sklearn"},
    "_defaults": {"numpy"},
    "_version": set(),
    "_devices": {"torch", "threadpoolctl"},
    "_engine": {
        "numpy",
        "torch",
        "_devices",
        "_training",
        "_rows",
        "_latent_model",
        "_columns",
        "likelihoods",
    },
    "_training": {"torch", "_latent_model", "_optimizer", "_rows", "_step", "_warn"},
    "_step": {"torch", "_latent_model", "_optimizer"},
    "_optimizer": {"torch"},
    "_rows": {"torch"},
    "_autoencoder_model": {"torch", "_bounds", "_columns", "_latent_model", "_networks"}
    | {"_kernel_density", "_noise", "_principal"},
    "_vae_model": {"torch", "_bounds", "_columns", "_importance", "_latent_model", "_networks"},
    "_latent_model": {"torch", "_columns", "_networks", "_noise", "_real"},
    "_principal": {"torch"},
    "_kernel_density": {"torch"},
    "_bounds": {"torch", "_scalars"},
    "_scalars": {"torch"},
    "_importance": {"torch"},
    "_columns": {"torch", "likelihoods"},
    "_networks": {"torch", "_scalars"},
    "likelihoods": {"_censored", "_discrete", "_likelihood", "_ordinal", "_real"},
    "_real": {"torch", "_likelihood", "_noise", "_scalars"},
    "_ordinal": {"torch", "_likelihood", "_noise", "_real"},
    "_censored": {"torch", "_likelihood", "_real", "_scalars"},
    "_discrete": {"torch", "_likelihood"},
    "_likelihood": {"torch"},
    "_noise": {"torch"},
}
FILES = sorted(path.stem for path in PACKAGE.glob("*.py"))


def imports(name):
    """Return the packages and the files of this one that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level and not node.module:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.removeprefix("skvae."))
    return {module.partition(".")[0] for module in found} - set(sys.stdlib_module_names)


def test_the_table_has_every_file():
    assert set(FILES) == set(ALLOWED)


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_what_it_may(name):
    assert imports(name) <= ALLOWED[name]


@pytest.mark.parametrize("name", FILES)
def test_torch_and_scikit_learn_never_meet(name):
    assert not {"torch", "sklearn"} <= imports(name)
    assert not {"torch", "numpy"} <= imports(name) or name == "_engine"


def test_types_are_checked_on_the_torch_side():
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["files"] == [f"skvae/{name}.py" for name in TORCH_FILES]


def test_imports_point_one_way():
    for i, name in enumerate(TORCH_FILES):
        assert not imports(name) & (SKLEARN_FILES | set(TORCH_FILES[: i + 1]))


HEAVY = """
import sys
import torch, sklearn.mixture, sklearn.preprocessing  # which bring some on their own
heavy = {"torch._dynamo", "pandas", "polars", "matplotlib", "rich", "skops", "pytest"}
before = heavy & set(sys.modules)
import skvae
print(sorted(heavy & set(sys.modules) - before))
"""


def test_importing_the_package_brings_nothing_heavy_with_it():
    done = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_public_names_are_there():
    assert set(skvae.__all__) == {
        "AutoencoderTransformer",
        "VAETransformer",
        "__version__",
        "likelihoods",
    }
    assert all(hasattr(skvae, name) for name in skvae.__all__)
    assert skvae.AutoencoderTransformer.__module__ == skvae.VAETransformer.__module__ == "skvae"
