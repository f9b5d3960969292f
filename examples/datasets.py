# %% [markdown]
# # Data sets and loaders
#
# Chapter 5-1 of the 20-day tutorial in JAX, with what the PyTorch notes say of data: arrays, pictures in folders,
# pictures named in a table, transforms, a data set of one's own with a file for each example, and the loader's options.
#
# - Command: `python examples/datasets.py --data DIR`, where DIR holds `cifar2/`, `fashion_mnist/` and `imdb/` (default:
#   `$JAXPORT_DATA`). What is missing, and with `--smoke` everything, is made up and written to a temporary folder.
#   Pictures are decoded by Pillow, which comes with matplotlib; the extra `jaxport[data]` names it.
# - Time: about 18 s on two CPU cores.
# - Score: no example is lost or changed on its way through a split, a folder, a table or a file, and the order of
#   PyTorch's loader from seed 0 is met. The exit status is 1 if one is missed.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imsave
from sklearn.datasets import load_iris

from jaxport import chapter, data, viz
from jaxport.data import transforms as T

# %% [markdown]
# ## 1. What is there to do for a batch
#
# Four things, for a set of n examples and batches of m: find out n; draw m numbers below n; look those examples up; put
# them together into arrays. A data set does the first and the third (`__len__`, `__getitem__`), a loader the others.
#
# jaxport's classes have PyTorch's parts, but a batch that ends on an accelerator should not be made one example at a
# time in Python. Where the examples are rows of arrays, the arrays lie on the device, and one compiled program looks a
# batch up and transforms it there.


# %%
def by_hand(dataset: Any, m: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    indices = rng.permutation(len(dataset))[:m]
    samples = [dataset[i] for i in indices]
    return tuple(np.stack(part) for part in zip(*samples, strict=True))


# %% [markdown]
# ## 2. From arrays
#
# `ArrayDataset` is `TensorDataset`. `random_split` draws PyTorch's permutation for the seed that it is given; there is
# no global generator. `+` joins two sets. The flowers are float64 and arrive as float32, in which JAX computes unless
# it is told otherwise.


# %%
def iris() -> int:
    flowers, kinds = load_iris(return_X_y=True)
    whole = data.ArrayDataset(flowers, kinds)
    print([part.tolist() for part in by_hand(whole, 4, np.random.default_rng(0))])
    train, valid = data.random_split(whole, [0.8, 0.2])
    features, labels = next(iter(data.DataLoader(train, batch_size=8)))
    print(type(train).__name__, features.shape, features.dtype, labels)
    joined = train + valid
    print(f"{len(train)} + {len(valid)} = {len(joined)} ({type(joined).__name__})")
    rows = sorted([*x.tolist(), y] for x, y in (joined[i] for i in range(len(joined))))
    return sum(a != b for a, b in zip(rows, sorted(np.c_[flowers, kinds].tolist()), strict=True))


# %% [markdown]
# ## 3. Pictures in a folder for each class
#
# `ImageFolder` reads a picture when it is asked for: bytes (3, H, W), channels first at once. In PyTorch `transform`
# works on one Pillow picture after the other, in worker processes. Here transforms are functions of whole batches that
# run on the device, so they are the loader's, and `ToFloat` is what is left of `ToTensor`: the division by 255. The
# random ones draw a number for each picture from a key; the loader makes the keys from seed, epoch and position, so a
# run can be repeated. `num_workers` are threads: decoding a picture releases Python's lock.
#
# `data.load("cifar2")` decodes such folders once and keeps them as one array.


# %%
def write_picture(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0).copy())


def picture_folder(folder: str | None, smoke: bool, made: Path) -> Path:
    found = None if smoke else data.find("cifar2", folder)
    if found is None:
        part = data.DATASETS["cifar2"].synthetic(60, np.random.default_rng(0)).train
        for i, (image, label) in enumerate(zip(*part, strict=True)):
            write_picture(made / ("0_airplane", "1_automobile")[label] / f"{i}.png", image)
    return made if found is None else found / "train"


def augmented(image: np.ndarray, path: Path) -> None:
    shown = {"as read": image, "RandomVerticalFlip(p=1)": T.RandomVerticalFlip(p=1.0)(image, jax.random.key(0))}
    shown["RandomRotation(45)"] = jax.jit(T.RandomRotation(45))(image, jax.random.key(0))
    figure = Figure(figsize=(9, 3.4), dpi=120, layout="constrained")
    for axes, (title, picture) in zip(figure.subplots(1, 3), shown.items(), strict=True):
        axes.imshow(np.asarray(picture).transpose(1, 2, 0))
        axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(path)


def image_folder(root: Path, out: Path) -> int:
    pictures = data.ImageFolder(root)
    print(pictures.class_to_idx)
    augmented(pictures[0][0], out / "augmented.png")
    flip = T.Compose([T.RandomHorizontalFlip(), T.RandomVerticalFlip(), T.RandomRotation(45), T.ToFloat()])
    target = T.Lambda(lambda y: y[:, None].astype(np.float32))
    loader = data.DataLoader(pictures, 50, shuffle=True, num_workers=3, transform=flip, target_transform=target)
    features, labels = next(iter(loader))
    print(features.shape, labels.shape)
    chosen = [pictures[i] for i in loader.indices(0)[:50]]
    wrong = [y != found[0] for (_, y), found in zip(chosen, np.asarray(labels), strict=True)]
    upright = next(iter(data.DataLoader(pictures, 50, shuffle=True, transform=T.ToFloat())))[0]
    return int(sum(wrong)) + sum(bool((x * 255 != y).any()) for x, (y, _) in zip(upright, chosen, strict=True))


# %% [markdown]
# ## 4. A ready-made set, and its transforms
#
# The PyTorch notes' clothes. `load` reads the published files and leaves the pictures bytes. `ToFloat` and `Normalize`
# bring them to [-1, 1], as for the digits of PyTorch in practice; a label becomes a row of a unit matrix with `OneHot`,
# or with any function as a `Lambda`. `Resize` stands for OpenCV's, but takes the height first and keeps the channels in
# front, so no `reshape` follows.


# %%
def clothes(folder: str | None, smoke: bool, out: Path) -> tuple[data.Splits, float]:
    name = "fashion_mnist"
    made_up = smoke or data.find(name, folder) is None
    splits = data.DATASETS[name].synthetic(200, np.random.default_rng(0)) if made_up else data.load(name, folder)
    viz.show_samples(splits.train, 9, out / "clothes.png", classes=splits.classes, seed=0)
    loader = data.DataLoader(
        splits.train,
        64,
        shuffle=True,
        transform=T.Compose([T.ToFloat(), T.Normalize(0.5, 0.5)]),
        target_transform=T.OneHot(10),
    )
    x, y = next(iter(loader))
    larger = jax.jit(T.Resize((160, 160)))(x)
    print(f"features {x.shape} from {x.min():g} to {x.max():g}, labels {y.shape}, resized {larger.shape}")
    rows = loader.indices(0)[:64]
    wanted = (splits.train.x[rows].astype(np.float64) / 255 - 0.5) / 0.5
    return splits, float(np.abs(x - wanted).max() + np.abs(y.argmax(1) - splits.train.y[rows]).max())


# %% [markdown]
# ## 5. Pictures named in a table
#
# The notes write a class for pictures whose names and labels stand in a CSV file; here it is `CsvImageDataset`. It
# reads without pandas, takes the first line for a header only if it is one, and names the pictures that are missing at
# once, not when they are reached. Grey pictures come with three equal channels, as from `ImageFolder`.


# %%
def csv_images(splits: data.Splits, folder: Path) -> int:
    for i in range(40):
        write_picture(folder / f"picture{i}.png", splits.train.x[i])
    rows = [f"picture{i}.png, {splits.train.y[i]}" for i in range(40)]
    (folder / "labels.csv").write_text("\n".join(["file, label", *rows]), encoding="utf-8")
    target = T.Lambda(lambda y: np.eye(10, dtype=np.float32)[y])
    pictures = data.CsvImageDataset(folder / "labels.csv", folder, transform=T.ToFloat(), target_transform=target)
    print(f"{len(pictures)} pictures; of the first, {pictures[0][0].shape}, label {pictures[0][1]}")
    x, y = by_hand(pictures, 40, np.random.default_rng(0))
    order = np.random.default_rng(0).permutation(40)
    return int((y.argmax(1) != splits.train.y[order]).sum() + (x[:, :1] * 255 != splits.train.x[order]).sum())


# %% [markdown]
# ## 6. A data set of one's own
#
# The reviews of 1-3, each in a file: its label, and the numbers of its last 200 words. `Vocabulary` cuts, counts and
# numbers words as 5-1 does; 0 is a word that is not among the 9,998 most frequent ones, 1 is padding. A class with
# `__len__` and `__getitem__` is a data set, and `MapDataset` adds `+`. It gives NumPy arrays: nothing goes to the
# device before the batch is whole. The files are sorted; the tutorial takes them as the folder happens to list them.
#
# `imdb.py` trains the net on what `data.load("imdb")` makes of the same reviews, as arrays in memory.


# %%
class ImdbDataset(data.MapDataset):
    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.iterdir(), key=lambda path: int(path.stem))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        label, tokens = self.paths[index].read_text(encoding="utf-8").split("\t")
        return np.array(tokens.split(" "), np.int32), np.array([label], np.float32)


def read_reviews(folder: str | None, smoke: bool) -> tuple[list[str], list[int]]:
    if not smoke and (found := data.find("imdb", folder)):
        return data.imdb.read_texts(found)[0]
    words, rng = ["a", "the", "film", "plot", "was", "good", "bad", "<br />"], np.random.default_rng(0)
    return [" ".join(rng.choice(words, 1 + i)) + "\n" for i in range(300)], [i % 2 for i in range(300)]


def reviews(texts: list[str], labels: list[int], folder: Path) -> int:
    vocabulary = data.Vocabulary.build(texts)
    print(f"{len(vocabulary)} words: {vocabulary.words[:12]}")
    folder.mkdir()
    tokens = vocabulary.encode_batch(texts, 200)
    for i, (label, row) in enumerate(zip(labels, tokens.tolist(), strict=True)):
        (folder / f"{i}.txt").write_text(f"{label}\t{' '.join(map(str, row))}", encoding="utf-8")
    batches = list(data.DataLoader(ImdbDataset(folder), batch_size=20, shuffle=True, num_workers=4))
    print(f"{len(ImdbDataset(folder))} files, {len(batches)} batches; the first: {batches[0]}")
    in_memory = data.ArrayDataset(tokens, np.array(labels, np.float32)[:, None])
    both = zip(batches, data.DataLoader(in_memory, 20, shuffle=True), strict=True)
    return sum(int((a != b).sum()) for one, other in both for a, b in zip(one, other, strict=True))


# %% [markdown]
# ## 7. The loader's options
#
# | PyTorch | here |
# |---|---|
# | `batch_size`, `shuffle`, `drop_last` | the same |
# | `num_workers` | threads, and only where arrays in memory do not hold the examples |
# | `collate_fn` | `collate` |
# | `sampler`, `batch_sampler` | a `Subset`; `order="torch"` is PyTorch's order; `process=` is a `DistributedSampler` |
# | `generator`, `worker_init_fn` | `seed` |
# | `pin_memory` | batches are sent to the device ahead: `prefetch` |
# | `timeout`, `multiprocessing_context` | not there: there are no worker processes |
# | an `IterableDataset` | `Batches(iterable)` |
#
# And where training stopped the loader can go on: `state_dict` says where it is, in the middle of an epoch too.


# %%
def loader_options() -> int:
    numbers = data.ArrayDataset(np.arange(1, 50, dtype=np.int32))
    loader = data.DataLoader(numbers, batch_size=10, shuffle=True, drop_last=True, order="torch", seed=0)
    batches = [batch.tolist() for (batch,) in loader]
    print(*batches, sep="\n")
    next(iter(loader))
    state = loader.state_dict()
    other = data.DataLoader(numbers, batch_size=10, shuffle=True, drop_last=True, order="torch")
    other.load_state_dict(state)
    print(f"from {state} on: {(rest := [batch.tolist() for (batch,) in other])}")
    stream = data.Batches(np.full(3, i) for i in range(2))
    print(f"a stream: {[batch.tolist() for (batch,) in stream]}")
    known = [36, 29, 48, 1, 32, 31, 49, 9, 23, 46]  # PyTorch 2.13 after torch.manual_seed(0)
    return sum(a != b for a, b in zip(batches[0], known, strict=True)) + (
        rest != [batch.tolist() for (batch,) in loader]
    )


# %% [markdown]
# ## All steps

# %%
EXPECTED = dict.fromkeys(("iris", "folder", "clothes", "table", "reviews", "order"), (0.0, 0.0)) | {
    "clothes": (0, 1e-6)
}


@chapter.command("Data sets and loaders: chapter 5-1 in JAX.", expected=EXPECTED)
def main(options: chapter.Options) -> dict[str, float]:
    asked = options.data, options.smoke
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        splits, clothes_wrong = clothes(*asked, options.out)
        scores = {
            "iris": iris(),
            "folder": image_folder(picture_folder(*asked, made / "cifar2"), options.out),
            "clothes": clothes_wrong,
            "table": csv_images(splits, made / "clothes"),
            "reviews": reviews(*read_reviews(*asked), made / "reviews"),
            "order": loader_options(),
        }
    print(f"wrong: {scores}")
    return scores


# %%
main.start(__name__)
