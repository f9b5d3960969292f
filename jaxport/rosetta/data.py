"""Rows: data sets and loaders."""

from functools import partial

from .row import Row

R = partial(Row, topic="data")
PAIR = "TensorDataset(batch, batch_labels)"
ARRAYS = "data.ArrayDataset(batch, batch_labels)"
INT = "int64 → int32"

ROWS = (
    R("TensorDataset", f"{PAIR}[3]", f"{ARRAYS}[3]", "20-day 5-1, 20-day 5-3", "Rows of each.", dtypes=INT),
    R("dataset-length", f"len({PAIR})", f"len({ARRAYS})", "20-day 5-1, quick start"),
    R(
        "random-split-lengths",
        f"[len(part) for part in random_split({PAIR}, [8, 2])]",
        f"[len(part) for part in data.random_split({ARRAYS}, [8, 2])]",
        "20-day 5-1, 20-day 5-3",
    ),
    R(
        "random-split",
        f"torch.manual_seed(0)\n[part.indices for part in random_split({PAIR}, [8, 2])]",
        f"[part.indices.tolist() for part in data.random_split({ARRAYS}, [8, 2], seed=0)]",
        "20-day 5-1",
        "The same cut for the same seed.",
    ),
    R(
        "dataset-plus",
        f"first, second = random_split({PAIR}, [7, 3])\nlen(first + second)",
        f"first, second = data.random_split({ARRAYS}, [7, 3])\nlen(first + second)",
        "20-day 5-1",
    ),
    R(
        "ConcatDataset",
        f"ConcatDataset([{PAIR}, {PAIR}])[12]",
        f"data.ConcatDataset([{ARRAYS}, {ARRAYS}])[12]",
        "20-day 5-1",
        dtypes=INT,
    ),
    R(
        "Dataset-class",
        "class Squares(Dataset):\n    def __len__(self):\n        return 5\n\n    def __getitem__(self, index):\n"
        "        return torch.tensor(float(index ** 2))\n\n(len(Squares()), Squares()[3])",
        "class Squares(data.MapDataset):\n    def __len__(self):\n        return 5\n\n"
        "    def __getitem__(self, index):\n"
        "        return jnp.array(float(index ** 2))\n\n(len(Squares()), Squares()[3])",
        "20-day 5-1, quick start",
    ),
    R(
        "DataLoader",
        f"list(DataLoader({PAIR}, batch_size=4))",
        f"list(data.DataLoader({ARRAYS}, batch_size=4))",
        "20-day 5-1, quick start, practice 4, 20-day 5-3",
        "The last batch is shorter: for a jitted step that is a second shape. `engine.fit` pads and masks it.",
        dtypes=INT,
    ),
    R(
        "DataLoader-length",
        f"len(DataLoader({PAIR}, batch_size=4))",
        f"len(data.DataLoader({ARRAYS}, batch_size=4))",
        "quick start, practice 4",
    ),
    R(
        "DataLoader-drop-last",
        f"list(DataLoader({PAIR}, batch_size=4, drop_last=True))",
        f"list(data.DataLoader({ARRAYS}, batch_size=4, drop_last=True))",
        "20-day 5-1",
        dtypes=INT,
    ),
    R(
        "DataLoader-shuffle",
        f"torch.manual_seed(3)\nlist(DataLoader({PAIR}, batch_size=4, shuffle=True))",
        f"list(data.DataLoader({ARRAYS}, batch_size=4, shuffle=True, seed=3, order='torch'))",
        "20-day 5-1, practice 4",
        "order='torch' gives PyTorch's order for the seed; without it NumPy's.",
        dtypes=INT,
    ),
    R(
        "DataLoader-next",
        f"features, labels = next(iter(DataLoader({PAIR}, batch_size=4)))\n(features.shape, labels.shape)",
        f"features, labels = next(iter(data.DataLoader({ARRAYS}, batch_size=4)))\n(features.shape, labels.shape)",
        "quick start, 20-day 3-1",
    ),
    R(
        "DataLoader-dataset",
        f"len(DataLoader({PAIR}, batch_size=4).dataset)",
        f"len(data.DataLoader({ARRAYS}, batch_size=4).dataset)",
        "quick start",
    ),
    R(
        "DataLoader-enumerate",
        f"[(number, len(labels)) for number, (features, labels) in enumerate(DataLoader({PAIR}, batch_size=4), 1)]",
        f"[(number, len(labels)) for number, (features, labels) in enumerate(data.DataLoader({ARRAYS}, "
        f"batch_size=4), 1)]",
        "quick start, 20-day 6-2",
    ),
    R(
        "collate",
        "collate = lambda rows: torch.stack([row * 2 for row, label in rows])\n"
        f"next(iter(DataLoader({PAIR}, batch_size=4, collate_fn=collate)))",
        "collate = lambda rows: (np.stack([np.asarray(row) * 2 for row, label in rows]),)\n"
        f"next(iter(data.DataLoader({ARRAYS}, batch_size=4, collate=collate)))[0]",
        "20-day 5-1",
        "A tuple of NumPy's arrays in jaxport.",
        jit=False,
        x64=False,
    ),
    R(
        "by-hand-batch",
        "picked = torch.tensor([1, 4, 8, 9])\n(batch.index_select(0, picked), batch_labels[picked])",
        "picked = jnp.array([1, 4, 8, 9])\n(batch[picked], batch_labels[picked])",
        "20-day 5-1, 20-day 3-1",
        "The steps of a loader, and jit takes them.",
        dtypes=INT,
    ),
    R(
        "epoch-order",
        "torch.manual_seed(5)\n[int(i) for i, in DataLoader(TensorDataset(torch.arange(9)), shuffle=True)]",
        "epoch_order(9, Generator(5)).tolist()",
        "20-day 5-1",
        "The order alone, without a loader.",
    ),
    R("SequentialSampler", "list(SequentialSampler(range(5)))", "list(range(5))", "20-day 5-1"),
    R(
        "RandomSampler",
        "sorted(RandomSampler(range(6)))",
        "sorted(np.random.default_rng(0).permutation(6).tolist())",
        "20-day 5-1",
    ),
    R(
        "BatchSampler",
        "list(BatchSampler(SequentialSampler(range(7)), batch_size=3, drop_last=False))",
        "[list(range(7))[start:start + 3] for start in range(0, 7, 3)]",
        "20-day 5-1",
    ),
    R(
        "IterableDataset",
        "class Count(IterableDataset):\n    def __iter__(self):\n        return iter(range(4))\n\n"
        "list(DataLoader(Count(), batch_size=2))",
        "[np.stack([i, i + 1]) for i in range(0, 4, 2)]",
        "20-day 5-1",
        "`engine.fit` takes any iterable of batches: a generator function.",
    ),
    R(
        "ToTensor",
        "(torch.from_numpy(pixels.numpy()).permute(2, 0, 1).float() / 255)",
        "T.ToFloat()(pixels.transpose(2, 0, 1))",
        "notes, quick start, practice 4",
        "torchvision's ToTensor: channels first, then 0 to 1. Keep uint8 until a batch is used.",
        x64=False,
    ),
    R(
        "Normalize",
        "(pictures - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)",
        "T.Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])(pictures)",
        "notes",
    ),
    R(
        "target-one-hot",
        "torch.stack([torch.zeros(3).scatter_(0, label, value=1) for label in labels])",
        "T.OneHot(3)(labels)",
        "quick start",
        "A target_transform for whole batches.",
        x64=False,
    ),
    R(
        "compose",
        "(pixels.permute(2, 0, 1).float() / 255 - 0.5) / 0.5",
        "T.Compose([T.Lambda(lambda a: a.transpose(2, 0, 1)), T.ToFloat(), T.Normalize(0.5, 0.5)])(pixels)",
        "practice 4, 20-day 5-1",
        x64=False,
    ),
    R(
        "window",
        "torch.stack([batch[start:start + 3] for start in range(8)])",
        "jnp.stack([batch[start:start + 3] for start in range(8)])",
        "20-day 1-4",
        "Windows of a time series.",
    ),
)
