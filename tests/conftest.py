"""Fixtures that several test files share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

# What a shell starts in the background ignores Ctrl-C, and so would the programs that these tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the slow tests out unless JAXPORT_SLOW is 1."""
    if os.environ.get("JAXPORT_SLOW") != "1":
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow; JAXPORT_SLOW=1 runs it"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of the real data sets: JAXPORT_DATA, or shared/data beside the repository; skip without one."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("JAXPORT_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("no real data: set JAXPORT_DATA to the folder that holds them")
    return folder


@pytest.fixture
def strict_jax() -> Iterator[None]:
    """Refuse silent promotion and broadcasting in JAX."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True, scope="session")
def compilation_cache(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep compiled programs between tests and between runs, those of parity_tests/ too."""
    cache = getattr(request.config, "cache", None)
    if cache is None:
        yield
        return
    settings = {
        "jax_compilation_cache_dir": str(cache.mkdir("xla")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
