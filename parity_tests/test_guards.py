"""Guards: each degenerate state and input is found, a good one is not, and randomise mends all of it."""

import numpy as np
import pytest
import torch

from jaxport.parity import guards
from jaxport.parity.layer import Layer
from jaxport.parity.result import Report, Step, Tensor, Verdict


def layers_of(model: torch.nn.Module) -> dict[str, Layer]:
    """Return a model's layers, with what the guards look at."""
    layers = {}
    for path, module in model.named_modules():
        arrays = {**module._parameters, **module._buffers}
        settings = {"padding_idx": module.padding_idx} if isinstance(module, torch.nn.Embedding) else {}
        kind = f"torch.nn.{type(module).__name__}"
        layers[path] = Layer(path, kind, settings, {k: v for k, v in arrays.items() if v is not None}, module)
    return layers


class Net(torch.nn.Module):
    """A layer of each sort that the rules know."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, 3)
        self.norm = torch.nn.BatchNorm2d(5)
        self.square = torch.nn.Linear(7, 7)
        self.fc = torch.nn.Linear(5, 7)
        self.words = torch.nn.Embedding(11, 4, padding_idx=2)
        self.gamma = torch.nn.Parameter(torch.full((6,), 1e-2))
        self.register_buffer("mask", torch.full((3, 3), -torch.inf))
        self.register_buffer("offset", torch.full((3,), 2.0))


def good_net() -> Net:
    torch.manual_seed(0)
    net = Net()
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    mended = guards.randomise(state, layers_of(net), seed=1)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in mended.items()})
    return net


def good_input() -> np.ndarray:
    return np.random.default_rng(0).normal(0.5, 1.0, (2, 3, 11, 13)).astype(np.float32)


def rules(model: torch.nn.Module, inputs: object, training: bool = False, **options: object) -> dict[str, str]:
    found = guards.degenerate(layers_of(model), inputs, training, **options)
    assert len({finding.rule for finding in found}) == len(found)
    return {finding.rule: finding.level for finding in found}


USUAL = {"guard/square-weight": "warning", "guard/constant-buffer": "warning"}


def test_a_good_state_has_only_warnings() -> None:
    assert rules(good_net(), [good_input()]) == USUAL
    assert rules(good_net(), {"x": good_input(), "ids": torch.arange(10).reshape(2, 5)}, True) == USUAL


STATES = {
    "zero-bias": lambda net: net.conv.bias.data.zero_(),
    "unit-scale": lambda net: net.norm.weight.data.fill_(1.0),
    "zero-running-mean": lambda net: net.norm.running_mean.zero_(),
    "unit-running-var": lambda net: net.norm.running_var.fill_(1.0),
    "equal-weights": lambda net: net.fc.weight.data.fill_(0.1),
    "not-finite": lambda net: net.fc.weight.data[0, 0].fill_(torch.nan),
}


@pytest.mark.parametrize("rule", STATES)
def test_degenerate_state_is_an_error_unless_allowed(rule: str) -> None:
    net = good_net()
    STATES[rule](net)
    assert rules(net, [good_input()]) == {**USUAL, f"guard/{rule}": "error"}
    assert rules(net, [good_input()], allow=[f"guard/{rule}"]) == {**USUAL, f"guard/{rule}": "info"}


def test_running_statistics_do_not_matter_in_training() -> None:
    net = good_net()
    net.norm.reset_running_stats()
    assert rules(net, [good_input()], training=True) == USUAL


BATCH = good_input()
INPUTS = {
    "batch-one": BATCH[:1],
    "constant-input": np.full((2, 3, 11, 13), 0.5),
    "equal-dims": np.concatenate([BATCH, BATCH[:1] + 1.0]),
    "empty-input": BATCH[:0],
    "not-finite": np.where(BATCH > 1.0, np.inf, BATCH),
    "zero-mean-input": BATCH - BATCH.mean(),
}


@pytest.mark.parametrize("rule", INPUTS)
def test_degenerate_inputs_are_found(rule: str) -> None:
    level = "info" if rule == "zero-mean-input" else "error"
    assert rules(good_net(), [INPUTS[rule]]) == {**USUAL, f"guard/{rule}": level}


def test_square_pictures_are_found_with_their_axes() -> None:
    (finding,) = guards.degenerate({}, {"image": BATCH[:, :, :, :11]}, False)
    assert (finding.rule, finding.level) == ("guard/equal-dims", "error")
    assert "image (2, 3, 11, 11) (axes 2 and 3)" in finding.message


def test_a_finding_names_the_arrays_and_what_to_do() -> None:
    model = torch.nn.Sequential(*(torch.nn.BatchNorm1d(4) for _ in range(7)))
    found = {finding.rule: finding for finding in guards.degenerate(layers_of(model), [BATCH], False)}
    bias = found["guard/zero-bias"]
    assert bias.torch_path == "0.bias"
    assert "0.bias (4,), 1.bias (4,)" in bias.message
    assert "and 2 more" in bias.message
    assert "randomise=True" in bias.fix
    assert len(found) == 4


def test_one_array_can_be_allowed() -> None:
    net = good_net()
    net.conv.bias.data.zero_()
    net.fc.bias.data.zero_()
    found = guards.degenerate(layers_of(net), [BATCH], False, allow=["guard/zero-bias@conv.bias"])
    assert [(f.level, f.torch_path) for f in found if f.rule == "guard/zero-bias"] == [
        ("info", "conv.bias"),
        ("error", "fc.bias"),
    ]


def state_of(net: torch.nn.Module) -> dict[str, np.ndarray]:
    return {key: value.numpy().copy() for key, value in net.state_dict().items()}


def test_randomise_mends_a_fresh_model_and_keeps_its_weights() -> None:
    net = Net()
    before = state_of(net)
    after = guards.randomise(before, layers_of(net), seed=3)
    assert list(after) == list(before)
    assert {key: value.dtype for key, value in after.items()} == {key: value.dtype for key, value in before.items()}
    kept = {key for key in before if np.array_equal(before[key], after[key])}
    changed = {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "gamma"}
    assert set(before) - kept == changed
    assert np.all((after["norm.weight"] > 0.69) & (after["norm.weight"] < 1.31))
    assert np.all((after["norm.running_var"] >= 0.5) & (after["norm.running_var"] <= 2.0))
    assert np.all((after["gamma"] > 0.69e-2) & (after["gamma"] < 1.31e-2))
    assert after["norm.running_mean"].std() > 0.1


def test_randomise_depends_on_seed_and_key_alone() -> None:
    net = Net()
    state = state_of(net)
    one, two = (guards.randomise(state, layers_of(net), seed=seed) for seed in (1, 2))
    alone = guards.randomise({"norm.bias": state["norm.bias"]}, layers_of(net), seed=1)
    np.testing.assert_array_equal(alone["norm.bias"], one["norm.bias"])
    assert not np.array_equal(one["norm.bias"], two["norm.bias"])
    zeros = guards.randomise({"a.bias": np.zeros(3, np.float32), "b.bias": np.zeros(3, np.float32)}, {}, seed=1)
    assert not np.array_equal(zeros["a.bias"], zeros["b.bias"])


def test_randomise_draws_all_but_the_weights_when_told() -> None:
    net = good_net()
    state = state_of(net)
    kept = guards.randomise(state, layers_of(net), seed=5)
    drawn = guards.randomise(state, layers_of(net), seed=5, keep=False)
    assert all(np.array_equal(kept[key], state[key]) for key in state)
    assert not np.array_equal(drawn["fc.bias"], state["fc.bias"])
    assert not np.array_equal(drawn["norm.running_var"], state["norm.running_var"])
    np.testing.assert_array_equal(drawn["fc.weight"], state["fc.weight"])


def test_randomise_fills_tied_weights_alike_and_leaves_the_padding_row() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(11, 4, padding_idx=2)
            self.head = torch.nn.Linear(4, 11, bias=False)
            self.head.weight = self.words.weight
            torch.nn.init.zeros_(self.words.weight)

    net = Tied()
    after = guards.randomise(state_of(net), layers_of(net), seed=0)
    np.testing.assert_array_equal(after["words.weight"], after["head.weight"])
    assert not after["words.weight"][2].any()
    assert after["words.weight"][3].all()


def test_randomised_numbers_are_those_of_float32() -> None:
    net = Net().double()
    for value in guards.randomise(state_of(net), layers_of(net), seed=0).values():
        if value.dtype == np.float64 and value.ndim == 1 and value.size in (5, 6):
            np.testing.assert_array_equal(value[np.newaxis].astype(np.float32).astype(np.float64)[0], value)


def tensor(decides: bool) -> Tensor:
    return Tensor("output", "", "", (2,), (2,), "float32", "float32", Verdict.EQUAL, decides=decides)


def test_nothing_compared_is_an_error() -> None:
    step = Step(1, "free", "loss", 0.0, "", 1e-10)
    assert [f.level for f in guards.nothing_compared(Report("empty"))] == ["error"]
    assert "1 tensors are shown" in guards.nothing_compared(Report("shown", (tensor(False),)))[0].message
    assert guards.nothing_compared(Report("one", (tensor(True),))) == []
    assert guards.nothing_compared(Report("steps", steps=(step,))) == []
