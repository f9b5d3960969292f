"""Rows: devices, saving and loading."""

from functools import partial

from .row import Row

R = partial(Row, topic="devices_save")
TORCH = "torch.manual_seed(0)\nnet = nn.Linear(3, 4)\n"
JAX = "net = nn.Linear(3, 4, rngs=torch_rngs(0))\n"

ROWS = (
    R(
        "device",
        "x.device",
        "next(iter(x.devices()))",
        "quick start, 20-day 6-3",
        "`x.device` may be a sharding in JAX; under jit there is no device.",
        jit=False,
    ),
    R(
        "cuda-available",
        "torch.cuda.is_available()",
        "any(device.platform == 'gpu' for device in jax.devices())",
        "basics 3, quick start, 20-day 6-3, notes, basics 5",
        "jax.default_backend() names what JAX took; it takes a GPU by itself.",
    ),
    R(
        "device-choice",
        "device = torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')\ndevice.type",
        "device = jax.devices()[0]\ndevice.platform",
        "quick start, 20-day 6-3, notes",
        "A GPU comes first in jax.devices().",
    ),
    R("device-count", "max(torch.cuda.device_count(), 1)", "jax.local_device_count()", "20-day 6-3"),
    R(
        "mps",
        "torch.backends.mps.is_available()",
        "any(device.platform == 'METAL' for device in jax.devices())",
        "quick start",
        "jaxport is not tried on it.",
    ),
    R(
        "to-device",
        "x.to('cpu') + 1",
        "jax.device_put(x, jax.devices('cpu')[0]) + 1",
        "quick start, notes, basics 3, 20-day 6-3",
    ),
    R(
        "to-device-dtype",
        "n.to('cpu', torch.float32)",
        "jax.device_put(n, jax.devices('cpu')[0]).astype(jnp.float32)",
        "notes",
    ),
    R("cpu", "x.cpu()", "jax.device_put(x, jax.devices('cpu')[0])", "practice 1, basics 3, 20-day 6-3, basics 5"),
    R(
        "cuda-type",
        "x.type(torch.cuda.FloatTensor if torch.cuda.is_available() else torch.FloatTensor)",
        "jax.device_put(x, jax.devices()[0]).astype(jnp.float32)",
        "practice 1",
        "Device and dtype are two things in JAX.",
        x64=False,
    ),
    R(
        "cuda",
        "x.cuda() if torch.cuda.is_available() else x",
        "jax.device_put(x, jax.devices()[0])",
        "practice 1, basics 3, 20-day 6-3, basics 5",
        "JAX puts new arrays on the GPU by itself, if it has one.",
    ),
    R(
        "device-argument",
        "torch.ones_like(x, device='cpu')",
        "jnp.ones_like(x, device=jax.devices('cpu')[0])",
        "notes, quick start",
    ),
    R("is-cuda", "x.is_cuda", "next(iter(x.devices())).platform == 'gpu'", "20-day 6-3", jit=False),
    R(
        "empty-cache",
        "torch.cuda.empty_cache()",
        "None",
        "20-day 6-3",
        "JAX frees an array with its last reference; `XLA_PYTHON_CLIENT_PREALLOCATE=false` leaves memory to others.",
    ),
    R(
        "module-to-device",
        TORCH + "net = net.to('cpu')\nnext(net.parameters()).device",
        JAX + "net = jax.device_put(net, jax.devices('cpu')[0])\nnext(iter(next(net.parameters())[...].devices()))",
        "quick start, basics 3, 20-day 6-3",
        "A module is a pytree: device_put moves it.",
        x64=False,
        jit=False,
    ),
    R(
        "data-parallel",
        TORCH + "nn.DataParallel(net)(x)",
        JAX + "net(x)",
        "20-day 6-3",
        "No wrapper: `engine.fit(place=...)` or shardings, [devices.md](devices.md).",
        x64=False,
    ),
    R(
        "state-dict",
        TORCH + "net.state_dict()",
        JAX + "interop.state_dict(net)",
        "quick start, 20-day 1-1",
        "The same names, shapes and layouts; NumPy's arrays.",
        x64=False,
        jit=False,
    ),
    R(
        "save-load",
        TORCH + "torch.save(net.state_dict(), f'{folder}/net.pth')\nnew = nn.Linear(3, 4)\n"
        "new.load_state_dict(torch.load(f'{folder}/net.pth', weights_only=True))\nnew(x)",
        JAX + "jaxport.save_file(interop.state_dict(net), f'{folder}/net.safetensors')\n"
        "new = nn.Linear(3, 4, rngs=nnx.Rngs(1))\n"
        "jaxport.load_state_dict(new, jaxport.load_file(f'{folder}/net.safetensors'))\nnew(x)",
        "quick start, 20-day 1-1, 20-day 6-3",
        "jaxport reads and writes .pth too, where torch is installed. Under jit no file is written.",
        x64=False,
        jit=False,
    ),
    R(
        "load-matched",
        TORCH + "net.load_state_dict(net.state_dict()).missing_keys",
        JAX + "jaxport.load_state_dict(net, interop.state_dict(net)).missing_keys",
        "quick start",
        x64=False,
        jit=False,
    ),
    R(
        "load-wrong",
        TORCH + "net.load_state_dict({'weight': torch.ones(4, 3)})",
        JAX + "jaxport.load_state_dict(net, {'weight': np.ones((4, 3), np.float32)})",
        "quick start",
        "A missing name is an error on both sides.",
        torch_raises="RuntimeError",
        jax_raises="WeightsError",
        x64=False,
    ),
    R(
        "save-tensor",
        "torch.save(x, f'{folder}/x.pt')\ntorch.load(f'{folder}/x.pt', weights_only=True)",
        "np.save(f'{folder}/x.npy', x)\njnp.asarray(np.load(f'{folder}/x.npy'))",
        "20-day 1-1",
        "NumPy's files for arrays.",
        jit=False,
    ),
    R(
        "save-model",
        TORCH + "torch.save(net, f'{folder}/net.pkl')\ntorch.load(f'{folder}/net.pkl', weights_only=False)(x)",
        JAX + "rows = np.asarray(x)\njaxport.Model(net).export(f'{folder}/net', (3,))\n"
        "jaxport.load_exported(f'{folder}/net')(rows)",
        "20-day 1-1",
        "A pickled module needs its source; jaxport's export is the compiled program with the weights.",
        x64=False,
        jit=False,
    ),
    R(
        "classes-lookup",
        "names = ['coat', 'bag', 'boot']\nnames[logits[0].argmax(0)]",
        "names = ['coat', 'bag', 'boot']\nnames[logits[0].argmax(0)]",
        "quick start",
        "An array as a list's index: under jit there is no number yet.",
        jit=False,
    ),
    R(
        "summary",
        "sum(p.numel() for p in nn.Linear(3, 4).parameters())",
        "jaxport.summary(nn.Linear(3, 4, rngs=nnx.Rngs(0)), (3,)).parameters",
        "20-day 4-3, 20-day 6-2",
        "torchkeras' summary: print it for the table.",
        x64=False,
    ),
)
