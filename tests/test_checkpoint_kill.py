"""Training that is killed (kill -9) at 50 moments, some inside a save, ends with the bits of a run that was not."""

import multiprocessing
import pickle
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpoint_runs import differences, train_until_killed

KILLS = {"scan": 17, "chunks": 16, "loader": 17}
EVENTS = 24  # about so many hooks are called in a run


@pytest.fixture(scope="module")
def processes() -> Any:
    """Makes processes that have everything imported and no JAX backend yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jaxport.engine", "orbax.checkpoint", "jaxport.engine.checkpoint_store"])
    return context


def moments(seed: str) -> Iterator[tuple[str, float]]:
    """Kills in turn at an event of the run, in the middle of a save, and after some time."""
    draw = random.Random(seed)
    while True:
        yield "event", draw.randint(0, EVENTS)
        yield "save", draw.choice([0.0, draw.uniform(0, 0.02), draw.uniform(0, 0.2)])
        yield "event", draw.randint(0, EVENTS)
        yield "save", draw.uniform(0, 0.05)
        yield "time", draw.uniform(0, 0.5)


@pytest.mark.parametrize("way", KILLS)
@pytest.mark.slow
def test_killed_runs_end_with_the_same_bits(
    way: str, tmp_path: Path, processes: Any, request: pytest.FixtureRequest
) -> None:
    cache = request.config.cache
    folder, result = tmp_path / "xla", tmp_path / "outcome"
    compiled = str(folder if cache is None else cache.mkdir("xla"))

    def run(number: int, kind: str, moment: float) -> int:
        arguments = (way, str(tmp_path / f"run{number}"), kind, moment, compiled, str(result))
        process = processes.Process(target=train_until_killed, args=arguments)
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), (kind, moment)
        return process.exitcode

    def finished(kind: str, moment: float) -> dict[str, Any]:
        outcome = pickle.loads(result.read_bytes())
        result.unlink()
        assert outcome["columns"]["epoch"] == [1.0, 2.0, 3.0, 4.0], (kind, moment)
        return outcome

    run(0, "none", 0.0)
    wanted, killed, inside, number = finished("none", 0.0), 0, 0, 1
    for kind, moment in moments(way):
        last = killed == KILLS[way]
        if run(number, "none" if last else kind, moment):
            killed += 1
            inside += any("tmp" in path.name for path in (tmp_path / f"run{number}").glob("*"))
        else:
            assert differences(wanted, finished(kind, moment)) == [], (kind, moment, number)
            number += 1
            if last:
                break
    print(f"{killed} kills, {inside} of them while a checkpoint was written; {number - 1} runs compared")
    assert number > 1
