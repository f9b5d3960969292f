"""The chapters that are not one model, first half: each runs, prints what PyTorch prints, and can fail."""

import contextlib
import dataclasses
import functools
import io
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
from chapters_a_names import CHAPTERS_A
from test_examples import load

from jaxport import chapter

# What the tutorial prints, or PyTorch 2.13 for the same lines; blanks count as one.
PRINTED = {
    "tensors": [
        "jnp.asarray(1) 1 int32",
        "jnp.asarray([1, 0, 2, 0], bool) [ True False True False]",
        "with x64: jnp.asarray(1) 1 int64",
        "jnp.asarray(1, jnp.float64) 1.0, 8 bytes",
        "cube ndim 3, shape (2, 2, 2), size 8",
        "matrix.T.reshape(3, 4) [[ 0 6 1 7] [ 2 8 3 9] [ 4 10 5 11]]",
        "numbers, x [1. 1. 1.] [0. 0. 0.]",
        "view, x [0. 0. 0.] [1. 1. 1.]",
        "torch.manual_seed(0); torch.rand(5) [0.4962566 0.7682218 0.08847743 0.13203049 0.30742282]",
        "x @ x.T [[3. 3. 3. 3.] [3. 3. 3. 3.] [3. 3. 3. 3.] [3. 3. 3. 3.]]",
        "x.sum().item() 12.0",
        "x[0, 0] = 5.0 JAX arrays are immutable",
        "jnp.swapaxes(y, 0, 2).shape (5, 4, 3)",
        "jnp.squeeze(y, 0) cannot select an axis to squeeze out",
    ],
    "tensor_structure": [
        "jnp.arange(1, 10, step=2) [1 3 5 7 9]",
        "torch.randperm(20) [ 3 17 9 19 1 18 4 13 15 12 0 16 7 11 2 5 8 10 6 14]",
        "t [[4 7 0 1 3] [6 4 8 4 6] [3 4 0 1 2] [5 6 8 1 2] [6 9 3 8 4]]",
        "t[1:4, :4:2] [[6 8] [3 0] [5 8]]",
        "scores[0] [[55 95 3 18 37 30 93] [17 26 15 3 20 92 72]",
        "scores[:, pupils][..., subjects] [[[95 18 93] [70 65 51] [20 75 0]] [[74 10 83] [60 47 51] [29 40 42]]",
        "jnp.take(scores, flat) [55 14 59]",
        "jnp.take_along_axis(scores, best, 2) [[95 92 74 99 83 77 98 94 94 85]",
        "how many, their sum, under jit [ 50 4441]",
        "jnp.where(scores > 60, 1, 0)[0] [[0 1 0 0 0 0 1]",
        "scores.at[:, pupils].set(100)[0] [[100 100 100 100 100 100 100] [ 17 26 15 3 20 92 72]",
        "jnp.where(scores < 60, 60, scores)[0] [[60 95 60 60 60 60 93]",
        "a.reshape(3, 6) [[126 195 22 33 78 161] [124 228 116 161 88 102] [ 5 43 74 132 177 204]]",
        "jnp.moveaxis(pictures, 3, 1).shape (10, 4, 32, 32)",
        "jnp.stack([a, b, c], axis=1) [[[ 1. 2.] [ 5. 6.] [ 9. 10.]] [[ 3. 4.] [ 7. 8.] [11. 12.]]]",
        "jnp.split(joined, [4, 5]) (4, 2) [[ 9. 10.]] [[11. 12.]]",
    ],
    "tensor_maths": [
        "a * b [[ 5. 12.] [-21. 32.]]",
        "a // 3 [[ 0. 0.] [-1. 1.]]",
        "(a >= 2) & (a <= 3) [[False True] [False False]]",
        "jnp.round(x), jnp.floor(x) [ 3. -3.] [ 2. -3.]",
        "jnp.clip(y, max=1) [ 0.9 -0.8 1. -20. 0.7]",
        "sum, mean, max, min, prod [45.0, 5.0, 9.0, 1.0, 362880.0]",
        "jnp.std(a, ddof=1), jnp.std(a) 2.7386 2.5820",
        "jnp.var(a, ddof=1), jnp.median(a) 7.5 5.0",
        "b.max(axis=1), b.argmax(axis=1) [3. 6. 9.] [2 2 2]",
        "jnp.cumprod(a) [ 1 2 6 24 120 720 5040 40320 362880]",
        "its indices [0 1 2 3 4 5 6 7 8]",
        "jax.lax.top_k(b, 2, axis=0) [[9. 7. 8.] [5. 6. 4.]] [[0 0 0] [2 2 2]]",
        "jnp.argsort(b, axis=1) [[1 2 0] [0 2 1] [2 0 1]]",
        "@ [[2 4] [6 8]]",
        "jnp.trace(a), norm, det ['5.0000', '5.4772', '-2.0000']",
        "b + a [[1 2 3] [2 3 4] [3 4 5]]",
        "b + a where that is refused Operands could not be broadcast together",
    ],
    "autograd": [
        "jax.grad(f)(0.0) -2.0",
        "|4x| and its derivative 5.6569 [2.828427",
        "vjp [[-2. -2.] [ 0. 2.]]",
        "of the sum [[-2. -2.] [ 0. 2.]]",
        "vmap [[-2. -2.] [ 0. 2.]]",
        "jax.grad(jax.grad(f))(0.0) 2.0",
        "jax.hessian of x₁² x₂ [[4. 2.] [2. 0.]]",
        "of x1 * x2 [2. 1.]",
        "of x1 * x2 and x1 + x2 [3. 2.]",
        "of x1 + x2 alone [1. 1.]",
        "mean of 3 (x + 2)², derivative 27.0 [4.5 4.5] [4.5 4.5]",
        "one of the factors detached [2.25 2.25] [2.25 2.25]",
        "twice: the same, and the sum -2.0 -2.0 -4.0",
        "loss 0.6819",
        "gradient of b [0.2660868",
        "least value, at y = 0.0000, x = 1.0000",
    ],
    "graph": [
        "w.grad, b.grad [[4.5 4.5]] [[4.5]]",
        "name=my_relu",
        "y1.grad, y2.grad -4.0 4.0",
        "x.grad -4.0 + 8.0 = 4.0",
        "x.grad, and in the middle 4.0; y1.grad -4.0, y2.grad 4.0, loss.grad 1.0",
        "y2 grad: 4.0 y1 grad: -4.0",
        "dot_general dot_general (10, 1) from ['input', 'w']",
        "add add (10, 1) from ['dot_general', 'b']",
    ],
    "modules": [
        "F.cross_entropy, nn.CrossEntropyLoss () equal: True",
        "(1): Parameter containing: [float32 of size 8x2]",
        "params_dict.a (2, 2)",
        "Linear(20, 30)(x).shape (128, 30)",
        "without a bias ['weight']",
        "embedding Embedding(10000, 3, padding_idx=1)",
        "how many {'children': 3, 'modules': 13}",
        "trainable, numbers False 30000",
        "trained ['conv', 'dense']",
        "Trainable params: 10,625 Non-trainable params: 30,000",
        "(conv): Sequential( (0): Conv2d(3, 32, kernel_size=(3, 3), stride=(1, 1))",
        "Linear-8 [-1, 32] 2,080",
        "Total params: 54,273",
        "predicted class [1]",
        "linear_relu_stack.4.bias (10,) [0.04317641 0.042464",
    ],
    "layers": [
        "Linear 35 parameters, output (4, 5)",
        "LayerNorm 768 parameters, output (4, 6, 8, 8)",
        "ConstantPad2d 0 parameters, output (4, 6, 10, 10)",
        "Conv2d 60 parameters, output (4, 6, 6, 6)",
        "Conv3d 815 parameters, output (4, 5, 2, 6, 6)",
        "ConvTranspose2d 275 parameters, output (4, 5, 10, 10)",
        "FractionalMaxPool2d 0 parameters, output (4, 6, 5, 5)",
        "Embedding 20 parameters, output (2, 3, 4)",
        "output[-1] is h_n of the last layer: True",
        "LSTM 440 parameters, output ((7, 3, 10), ((2, 3, 5), (2, 3, 5)))",
        "GRUCell 165 parameters, output (3, 5)",
        "TransformerDecoder 1,808 parameters, output (6, 3, 8)",
        "MultiheadAttention 288 parameters, output ((5, 3, 8), (3, 5, 5))",
        "Total params: 15,910",
    ],
    "losses": [
        "nn.CrossEntropyLoss 0.5493",
        "nn.LogSoftmax, nn.NLLLoss 0.5493",
        "nn.MSELoss 2.2850, as a function 2.2850",
        "nn.SmoothL1Loss 0.6425, as a function 0.6425",
        "nn.BCELoss 1.1478, as a function 1.1478",
        "nn.BCEWithLogitsLoss 1.1478, as a function 1.1478",
        "nn.CrossEntropyLoss 0.7656, as a function 0.7656",
        "nn.CosineSimilarity 0.6244, as a function 0.6244",
        "nn.AdaptiveLogSoftmaxWithLoss 2.0062, as a function 2.0062",
        "focal, hard 0.0866",
        "bce, hard 0.6931",
        "focal, easy 0.0005",
        "bce, easy 0.1054",
        "alpha 0.0, beta 0.0 0.05050, length of the gradient 0.16525",
        "alpha 0.001, beta 0.0 0.05208, length of the gradient 0.16522",
        "alpha 0.001, beta 0.001 0.06176, length of the gradient 0.16563",
    ],
}


@dataclasses.dataclass(frozen=True)
class Run:
    """What a chapter left: its command, the scores, the text, the files' bytes by their names."""

    main: chapter.Command
    status: int
    scores: dict[str, float]
    printed: str
    files: dict[str, bytes]


def loaded(name: str) -> ModuleType:
    """Import a chapter."""
    if name == "graph":
        pytest.importorskip("tensorboardX")
    return load(name)


@functools.cache
def smoke(name: str) -> Run:
    """Run a chapter once for all tests."""
    main, scores = loaded(name).main, {}
    recording = dataclasses.replace(main, run=lambda options: scores.update(main.run(options)) or scores)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as text:
        status = recording(["--smoke", "--out", folder])
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return Run(main, status, scores, " ".join(text.getvalue().split()), files)


def rerun(run: Run, scores: dict[str, float], folder: Path) -> int:
    """Return the exit status of the chapter, not in a smoke run, where it gives these scores."""
    return dataclasses.replace(run.main, run=lambda options: scores)(["--out", str(folder)])


def test_every_chapter_has_expected_lines():
    assert tuple(PRINTED) == CHAPTERS_A


@pytest.mark.parametrize("name", CHAPTERS_A)
def test_importing_a_chapter_does_nothing(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    module = loaded(name)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")
    assert module.main.name == name


@pytest.mark.parametrize("name", CHAPTERS_A)
def test_a_chapter_prints_what_pytorch_prints(name):
    run = smoke(name)
    assert run.status == 0
    assert [text for text in PRINTED[name] if text not in run.printed] == []


@pytest.mark.parametrize("name", CHAPTERS_A)
def test_a_chapter_meets_its_scores_and_a_wrong_one_is_exit_status_1(name, tmp_path, capsys):
    run = smoke(name)
    assert run.main.bounds().keys() == run.scores.keys()
    assert rerun(run, run.scores, tmp_path) == 0
    for score, value in run.scores.items():
        for wrong in (value - 0.01, value + 0.01):
            assert rerun(run, {**run.scores, score: wrong}, tmp_path) == 1
            assert capsys.readouterr().err.startswith(f"missed: {score} ")
    nothing = dict.fromkeys(run.scores, (1e9, 2e9))
    impossible = dataclasses.replace(run.main, run=lambda options: run.scores, expected=nothing)
    assert impossible(["--out", str(tmp_path)]) == 1


def test_the_graph_is_written_for_tensorboard():
    files = smoke("graph").files
    assert [name.startswith("events.out.tfevents") for name in files] == [True]
    assert b"dot_general" in next(iter(files.values()))


@pytest.mark.parametrize("name", sorted(set(CHAPTERS_A) - {"graph"}))
def test_the_other_chapters_write_no_files(name):
    assert smoke(name).files == {}


@pytest.mark.slow
def test_the_layers_compute_what_their_shapes_promise(tmp_path, capsys):
    assert smoke("layers").main(["--out", str(tmp_path)]) == 0
    assert " ".join(capsys.readouterr().out.split()) == smoke("layers").printed


def test_show_prints_both_columns(capsys):
    chapter.show("a + b", "[[1.]\n [2.]]")
    chapter.show("a" * 50, 1)
    assert capsys.readouterr().out.splitlines() == [f"{'a + b':<39} [[1.]", f"{'':<39}  [2.]]", "a" * 50 + " 1"]
