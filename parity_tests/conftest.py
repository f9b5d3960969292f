"""What every parity test runs under: no silent promotion or broadcasting in JAX."""

from collections.abc import Iterator

import jax
import pytest


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
