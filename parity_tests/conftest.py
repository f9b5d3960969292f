"""What every parity test runs under: no silent promotion or broadcasting in JAX."""

from collections.abc import Iterator
from pathlib import Path

import jax
import nn_report
import pytest
from sampling import spread

# Files whose every case is a name, an optimiser, a port or a mistake of its own: there all are run.
ONE_OF_EACH = (
    "_db",
    "database",
    "every_module",
    "twins",
    "complete",
    "listing",
    "ports",
    "mistake",
    "trap",
    "causes",
    "init",
    "random",
    "optim",
    "schedul",
    "swa",
    "model_torch",
    "scaler",
    "printed",
    "rosetta",
    "guards",
    "preflight",
    "golden",
    "foreign",
    "prove",
    "compare",
    "repro",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases",
        default="3",
        help="how many cases of each test over a grid of options are run, evenly spread, or 'all' (default: 3)",
    )
    parser.addoption(
        "--database",
        default="2",
        help="how many inputs of each entry of PyTorch's test databases are run, evenly spread, or 'all' (default: 2)",
    )
    parser.addoption("--nn-report", metavar="DIR", help="write there what was counted, for parity_tests/nn_report.py")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--nn-report", default=None):
        nn_report.watch_calls()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if folder := session.config.getoption("--nn-report", default=None):
        nn_report.dump(Path(folder))


def at_least(config: pytest.Config, option: str, least: int) -> int | None:
    """Return an option that is 'all' (None) or an integer."""
    value = config.getoption(option)
    if value == "all":
        return None
    if not value.isdigit() or int(value) < least:
        raise pytest.UsageError(f"{option} must be 'all' or an integer of at least {least}, got {value!r}")
    return int(value)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep some cases of each test over a grid of options, always the same ones; a case asked for by name is run."""
    most = at_least(config, "--cases", 2)
    by_name = any("[" in argument for argument in config.args)
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        grid = item.path.parent == Path(__file__).parent and not any(part in item.path.name for part in ONE_OF_EACH)
        groups.setdefault(item.nodeid.split("[")[0] if grid and not by_name else item.nodeid, []).append(item)
    kept = {id(item) for group in groups.values() for _, item in spread(group, most)}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = [item for item in items if id(item) in kept]


@pytest.fixture(autouse=True)
def count_what_is_right(request: pytest.FixtureRequest) -> None:
    """Leave the tests that plant mistakes out of the documentation's counts."""
    planted = any(word in request.path.name for word in ("trap", "mistake", "zero_gradients"))
    nn_report.running[0] = request.node.nodeid
    nn_report.counting[0] = not planted and "_is_found" not in request.node.name


@pytest.fixture(scope="session")
def most_inputs(request: pytest.FixtureRequest) -> int | None:
    """Return how many inputs of one database entry are run; None means all."""
    return at_least(request.config, "--database", 2)


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
