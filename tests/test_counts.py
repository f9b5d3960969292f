"""What a fit asks of JAX, in counts: nothing here depends on time. Each guard is seen to report what it is for."""

import importlib.util
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport import engine, metrics, ports
from jaxport.bench.count_fits import count_fit, problems, program_problems
from jaxport.bench.count_limits import LIMITS, PROGRAMS, expected
from jaxport.bench.counts import Program, counting, recording
from jaxport.engine import loop as engine_loop
from jaxport.engine import programs as engine_programs

TINY = "linreg_plane"
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly():
    """Leave out optimisations of machine code, as the command does: no count depends on them."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def fits():
    """Fits of one port in every way, counted once for all tests."""
    return {way: count_fit(ports.get(TINY), way) for way in LIMITS}


def test_every_way_to_dispatch_has_its_row():
    assert set(LIMITS) == set(PROGRAMS)
    assert all(set(row) == {"dispatches", "to_device", "to_host"} for row in LIMITS.values())


@pytest.mark.parametrize("way", LIMITS)
def test_fit_asks_for_what_the_table_says(fits, way):
    assert problems(fits[way]) == []


def test_epochs_and_steps_cost_what_they_should(fits):
    """The table's sums, once more by hand, so that a slip in the table does not pass."""
    per_epoch = {
        way: tuple(
            (total(found.fits[4], what) - total(found.fits[2], what)) / 2
            for what in ("dispatches", "to_device", "to_host")
        )
        for way, found in fits.items()
    }
    columns = 7  # loss, two metrics, the same of the validation, the learning rate
    assert per_epoch == {
        "scan": (0, 0, 0),
        "scan, watched": (5, 3, columns),
        "chunks": (5, 3, columns),
        "steps": (3 + 3 + 2, 1 + 3 + 2, columns + 1),
        "batches": (2 + 2 + 2, 2 * 4 + 2 * 3, columns),
        "single batches": (3 + 2 + 2, 3 * 3 + 2 * 3, columns + 1),
    }
    assert total(fits["scan"].fits[2], "dispatches") == 3


def total(counts, what: str) -> int:
    count = getattr(counts, what)
    return count.total() if isinstance(count, Counter) else count


def test_convolutions_go_step_by_step():
    if jax.default_backend() != "cpu":
        pytest.skip("elsewhere the loop belongs on the device")
    found = count_fit(ports.get("digits"))
    assert found.kind == "steps"
    assert problems(found) == []
    convolutions = " convolution(", "__onednn$convolution"  # XLA's own, and the library's
    assert sum(any(text in program.text for text in convolutions) for program in found.programs) == 2


def test_a_metric_that_collects_rows_has_two_shapes_of_sums():
    port = replace(ports.get("circles"), metrics=(metrics.BinaryAUC(),))
    found = count_fit(port, "chunks")
    assert (found.reads, found.first["read"]) == (2, 2)
    assert problems(found) == []
    assert problems(replace(found, reads=1)) == ["circles, chunks: program read was compiled 2 times instead of 1"]


# ---------------------------------------------------------------------------------------- each count counts


def test_transfers_and_dispatches_are_counted():
    double, x, host = jax.jit(lambda x: x * 2), jax.device_put(np.ones((), np.float32)), np.ones((), np.float32)

    def work() -> None:
        double(x)
        jax.device_put(host)
        jnp.asarray(host)
        double(host)
        x + x
        for fetch in (np.asarray, np.array, jax.device_get, float, lambda a: a.tolist()):
            fetch(double(x))

    for _ in range(2):  # the first calls compile
        work()
    with counting() as counts:
        work()
    assert (counts.to_device, counts.to_host, counts.compilations) == (3, 5, {})
    assert counts.dispatches is not None
    assert counts.dispatches["<lambda>"] == 7
    assert counts.dispatches["add"] == 1


def test_everything_is_put_back():
    before = np.asarray, np.array, jax.stages.Lowered.compile, jax.config.jax_transfer_guard_host_to_device
    with pytest.raises(ZeroDivisionError), counting(), recording():
        raise ZeroDivisionError
    assert before == (np.asarray, np.array, jax.stages.Lowered.compile, jax.config.jax_transfer_guard_host_to_device)


def test_what_others_write_to_stderr_is_kept(capfd):
    import os

    with counting() as counts:
        os.write(2, b"a word\n")
        jax.device_put(np.ones(2))
    assert counts.to_device == 1
    assert capfd.readouterr().err == "a word\n"


def test_compilations_are_counted_where_the_cache_has_them():
    compiled = [jax.jit(lambda x: jnp.cos(x) * 3) for _ in range(2)]
    x = jax.device_put(np.ones(3, np.float32))
    with counting() as counts:
        for function in compiled:
            function(x)
    assert counts.compilations == {"<lambda>": 2}
    assert counts.dispatches is None


# ------------------------------------------------------------------------------------------- each guard reports


def test_a_program_for_every_run_is_reported(monkeypatch):
    made = engine_programs.Programs
    monkeypatch.setattr(engine.Model, "_programs_of", lambda self, *args: made(*args))
    found = problems(count_fit(ports.get(TINY)))
    assert any("a later fit of 2 epochs compiled {'epochs': 1}" in line for line in found)


def test_a_program_for_the_short_batch_is_reported(monkeypatch):
    """Batches that are not padded have two shapes."""
    monkeypatch.setattr("jaxport.engine.sources._pad", lambda batch, rows, size, multiple: batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = problems(count_fit(ports.get(TINY), "batches"))
    assert any("program chunk was compiled 2 times instead of 1" in line for line in found)


def test_a_transfer_and_a_dispatch_more_are_reported(monkeypatch):
    began = engine_loop.Loop._begin_epoch

    def wasteful(self) -> None:
        jnp.zeros(()) + 1
        began(self)

    monkeypatch.setattr(engine_loop.Loop, "_begin_epoch", wasteful)
    found = problems(count_fit(ports.get(TINY)))
    assert any("dispatches in 2 epochs instead of 3" in line for line in found)
    assert any("to_device in 2 epochs instead of 7" in line for line in found)


def test_an_array_fetched_more_often_is_reported(monkeypatch):
    after = engine_loop.Loop._after_call

    def curious(self, loss) -> None:
        float(loss)
        after(self, loss)

    monkeypatch.setattr(engine_loop.Loop, "_after_call", curious)
    found = problems(count_fit(ports.get(TINY), "steps"))
    assert any("to_host in 2 epochs instead of" in line for line in found)


def test_state_that_is_not_given_is_reported(monkeypatch):
    compile_function = engine_programs.compile_function
    keeping = lambda *args, donate=(), **options: compile_function(*args, **options)  # noqa: E731
    monkeypatch.setattr(engine_programs, "compile_function", keeping)
    found = problems(count_fit(ports.get(TINY)))
    assert any("bytes of state and sums are needed no more, and 0 are given" in line for line in found)


@pytest.mark.parametrize(
    ("name", "due"), [("epochs", 100), ("steps", 110), ("step", 110), ("chunk", 110), ("batch", 110)]
)
def test_all_that_a_program_takes_over_is_to_be_given(name, due):
    text = "HloModule m\n\nENTRY main.1 {\n  a = f32[] add(x, y)\n}\n"
    whole = Program(name, text, donated=due, arguments=(100, 10, 1), reused=due)
    assert program_problems(whole) == []
    missing = f"{name}: {due} bytes of state and sums are needed no more, and {due - 1} are given"
    assert program_problems(whole._replace(donated=due - 1)) == [missing]
    for measuring in ("validation", "validation_step", "validation_batch"):
        assert program_problems(whole._replace(name=measuring, donated=100)) == []
        assert len(program_problems(whole._replace(name=measuring, donated=99))) == 1


def test_donated_memory_that_is_not_used_again_is_reported():
    x = jnp.ones((64,))
    with warnings.catch_warnings(record=True) as caught, recording() as programs:
        warnings.simplefilter("always")
        jax.jit(lambda x: x.sum(), donate_argnums=0).lower(x).compile()
    assert "donated" in str(caught[0].message)
    assert program_problems(programs[0]) == ["_lambda: 256 bytes are given, and 0 used again"]
    with recording() as programs:
        compiled = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile()
    assert program_problems(programs[0]) == []
    compiled(x)
    assert x.is_deleted()


def test_a_program_too_many_and_one_that_is_missing_are_reported(fits):
    found = fits["scan"]
    more = replace(found, programs=[*found.programs, found.programs[0]._replace(name="order")])
    assert problems(more) == [f"{TINY}, scan: program order was compiled, and scan needs none"]
    less = replace(found, first=Counter())
    assert problems(less) == [f"{TINY}, scan: program epochs was compiled 0 times instead of 1"]


def test_a_warning_of_donation_is_reported(fits):
    found = replace(fits["scan"], warnings=["Some donated buffers were not usable: float32[3]", "another"])
    assert problems(found) == [f"{TINY}, scan: warning: Some donated buffers were not usable: float32[3]"]


def test_the_sums_of_the_table():
    units = {"fit": 1, "drawn": 1, "epoch": 2, "call": 6, "validation step": 4}
    assert expected("steps", "dispatches", units) == 2 + 2 * 3 + 6 + 4


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def command(monkeypatch):
    spec = importlib.util.spec_from_file_location("counts_command", BENCHMARKS / "counts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_prints_a_table_and_fails_where_a_count_differs(command, fits, monkeypatch, capsys):
    wrong = replace(fits["scan"], warnings=["Some donated buffers were not usable: float32[3]"])
    monkeypatch.setattr(command, "step_problems", lambda port: [])
    monkeypatch.setattr(command, "count_fit", lambda port, way: {"circles": wrong}.get(port.name, fits[way or "scan"]))
    assert command.main([TINY]) == 0
    row = "| linreg_plane | scan | epochs | 1 | 0 | 3 + 0 E | 7 + 0 E | 10 + 0 E | 48 of 48 B |"
    *table, empty, verdict, seconds = capsys.readouterr().out.splitlines()
    assert (len(table), table[2].replace(table[2].split(" | ")[3], "1", 1), empty) == (3, row, "")
    assert (verdict, seconds[-2:]) == ("all as in the table", " s")
    assert command.main([TINY, "circles"]) == 1
    assert f"{TINY}, scan: warning: Some donated" in capsys.readouterr().out
    assert command.main([TINY, "circles", "--but", "circles", "--ways"]) == 0
    assert capsys.readouterr().out.count("| linreg_plane | ") == len(LIMITS)
    monkeypatch.setattr(command, "step_problems", lambda port: ["it scatters"])
    assert command.main([TINY]) == 1
