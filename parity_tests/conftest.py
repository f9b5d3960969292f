"""What every parity test runs under: no silent promotion or broadcasting in JAX."""

from collections.abc import Iterator
from pathlib import Path

import jax
import nn_report
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        default="4",
        help="how many inputs of each entry of PyTorch's test databases are run, evenly spread, or 'all' (default: 4)",
    )
    parser.addoption("--nn-report", metavar="DIR", help="write there what was counted, for parity_tests/nn_report.py")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--nn-report", default=None):
        nn_report.watch_calls()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if folder := session.config.getoption("--nn-report", default=None):
        nn_report.dump(Path(folder))


@pytest.fixture(autouse=True)
def count_what_is_right(request: pytest.FixtureRequest) -> None:
    """Leave the tests that plant mistakes out of the documentation's counts."""
    planted = any(word in request.path.name for word in ("trap", "mistake", "zero_gradients"))
    nn_report.running[0] = request.node.nodeid
    nn_report.counting[0] = not planted and "_is_found" not in request.node.name


@pytest.fixture(scope="session")
def most_inputs(request: pytest.FixtureRequest) -> int | None:
    """Return how many inputs of one database entry are run; None means all."""
    value = request.config.getoption("--database")
    if value == "all":
        return None
    if not value.isdigit() or int(value) < 2:
        raise pytest.UsageError(f"--database must be 'all' or an integer of at least 2, got {value!r}")
    return int(value)


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True, scope="session")
def compilation_cache(request: pytest.FixtureRequest) -> None:
    """Keep compiled programs between tests and between runs."""
    cache = getattr(request.config, "cache", None)
    if cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(cache.mkdir("xla")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
