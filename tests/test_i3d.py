import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jaxvid.models import i3d
from jaxvid.models.i3d import I3D, Inception, read_i3d
from jaxvid.parallel import compile_function
from jaxvid.typing import UserError

Arrays = dict[str, np.ndarray]
# Written out by hand, not taken from the module: what the files in the world say.
BLOCKS = {
    "3b": (192, 64, 96, 128, 16, 32, 32),
    "3c": (256, 128, 128, 192, 32, 96, 64),
    "4b": (480, 192, 96, 208, 16, 48, 64),
    "4c": (512, 160, 112, 224, 24, 64, 64),
    "4d": (512, 128, 128, 256, 24, 64, 64),
    "4e": (512, 112, 144, 288, 32, 64, 64),
    "4f": (528, 256, 160, 320, 32, 128, 128),
    "5b": (832, 256, 160, 320, 32, 128, 128),
    "5c": (832, 384, 192, 384, 48, 128, 128),
}


def units() -> list[tuple[str, str, str, int, int, int]]:
    """Names by TensorFlow, pytorch-i3d and kinetics_i3d_pytorch; side, channels in, out."""
    found = [
        ("Conv3d_1a_7x7", "Conv3d_1a_7x7", "conv3d_1a_7x7", 7, 3, 64),
        ("Conv3d_2b_1x1", "Conv3d_2b_1x1", "conv3d_2b_1x1", 1, 64, 64),
        ("Conv3d_2c_3x3", "Conv3d_2c_3x3", "conv3d_2c_3x3", 3, 64, 192),
    ]
    for block, (width, b0, b1a, b1b, b2a, b2b, b3b) in BLOCKS.items():
        odd = "0a_3x3" if block == "5b" else "0b_3x3"
        for tf, port, script, side, *widths in (
            ("Branch_0/Conv3d_0a_1x1", "b0", "branch_0", 1, width, b0),
            ("Branch_1/Conv3d_0a_1x1", "b1a", "branch_1.0", 1, width, b1a),
            ("Branch_1/Conv3d_0b_3x3", "b1b", "branch_1.1", 3, b1a, b1b),
            ("Branch_2/Conv3d_0a_1x1", "b2a", "branch_2.0", 1, width, b2a),
            (f"Branch_2/Conv3d_{odd}", "b2b", "branch_2.1", 3, b2a, b2b),
            ("Branch_3/Conv3d_0b_1x1", "b3b", "branch_3.1", 1, width, b3b),
        ):
            names = (f"Mixed_{block}/{tf}", f"Mixed_{block}.{port}", f"mixed_{block}.{script}")
            found.append((*names, side, *widths))
    return found


def files() -> tuple[Arrays, Arrays, Arrays]:
    """One random network as TensorFlow, pytorch-i3d and kinetics_i3d_pytorch would keep it."""
    r = np.random.default_rng(0)
    tf, port, script = {}, {}, {}
    for name, dotted, lower, side, inner, out in units():
        kernel = r.standard_normal((side, side, side, inner, out), np.float32)
        kernel *= np.sqrt(2 / (side**3 * inner))
        stats = {
            "beta": r.normal(0, 0.1, out).astype(np.float32),
            "moving_mean": r.normal(0, 0.1, out).astype(np.float32),
            "moving_variance": r.uniform(0.5, 2, out).astype(np.float32),
        }
        tf[f"RGB/inception_i3d/{name}/conv_3d/w"] = kernel
        for key, value in stats.items():
            tf[f"RGB/inception_i3d/{name}/batch_norm/{key}"] = value.reshape(1, 1, 1, 1, -1)
        for arrays, unit, norm in ((port, dotted, "bn"), (script, lower, "batch3d")):
            arrays[f"{unit}.conv3d.weight"] = kernel.transpose(4, 3, 0, 1, 2)
            arrays[f"{unit}.{norm}.weight"] = np.ones(out, np.float32)
            arrays[f"{unit}.{norm}.bias"] = stats["beta"]
            arrays[f"{unit}.{norm}.running_mean"] = stats["moving_mean"]
            arrays[f"{unit}.{norm}.running_var"] = stats["moving_variance"]
            arrays[f"{unit}.{norm}.num_batches_tracked"] = np.asarray(3)
    kernel = r.standard_normal((1, 1, 1, 1024, 400), np.float32) / 32
    bias = r.standard_normal(400, np.float32)
    tf["RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/w"] = kernel
    tf["RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/b"] = bias
    for arrays, unit in ((port, "logits"), (script, "conv3d_0c_1x1")):
        arrays[f"{unit}.conv3d.weight"] = kernel.transpose(4, 3, 0, 1, 2)
        arrays[f"{unit}.conv3d.bias"] = bias
    return tf, port, script


@pytest.fixture(scope="module")
def arrays() -> tuple[Arrays, Arrays, Arrays]:
    return files()


@pytest.fixture(scope="module")
def params(arrays: tuple[Arrays, ...], tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("i3d") / "port.safetensors"
    save(path, arrays[1])
    return read_i3d(path)


def save(path: pathlib.Path, arrays: Arrays) -> None:
    if path.suffix == ".npz":
        np.savez(path, **arrays)  # type: ignore[arg-type]
    else:
        copies = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        safetensors.numpy.save_file(copies, path)


def equal(a: Any, b: Any) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, a, b))


def test_every_layout_gives_the_same_network(
    arrays: tuple[Arrays, ...], params: Any, tmp_path: pathlib.Path
) -> None:
    tf, _, script = arrays
    save(tmp_path / "tf.npz", {f"{name}:0": array for name, array in tf.items()})
    save(tmp_path / "script.safetensors", {f"module.{k}": v for k, v in script.items()})
    assert equal(read_i3d(tmp_path / "tf.npz"), params)
    assert equal(read_i3d(tmp_path / "script.safetensors"), params)
    assert sum(x.size for x in jax.tree.leaves(params)) == 12_689_984


def test_batch_normalisation_is_folded(
    arrays: tuple[Arrays, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    r = np.random.default_rng(4)
    scale, x = r.uniform(0.5, 2, 224), r.normal(size=(5, 3 * 3 * 3 * 112))
    changed = arrays[1] | {"Mixed_4c.b1b.bn.weight": scale}
    monkeypatch.setattr(i3d, "_read_arrays", lambda path: changed)
    unit = read_i3d("changed.safetensors")["Mixed_4c"]["b1b"]
    have = x @ unit["kernel"].reshape(-1, 224) + unit["bias"]
    kernel, mean, variance, offset = (
        changed[f"Mixed_4c.b1b.{name}"]
        for name in ("conv3d.weight", "bn.running_mean", "bn.running_var", "bn.bias")
    )
    plain = x @ kernel.transpose(2, 3, 4, 1, 0).reshape(-1, 224)
    want = (plain - mean) / np.sqrt(variance + 1e-3) * scale + offset
    np.testing.assert_allclose(have, want, atol=2e-5)


Breaking = Callable[[Arrays], Any]
BROKEN: dict[str, tuple[Breaking, str]] = {
    "missing": (lambda a: a.pop("Mixed_5b.b2b.bn.running_var"), "Mixed_5b.b2b.bn.running_var is m"),
    "extra": (lambda a: a.update({"head.weight": np.ones(2)}), "head.weight is no part of I3D"),
    "classes": (
        lambda a: a.update({"logits.conv3d.weight": np.ones((600, 1024, 1, 1, 1))}),
        r"logits.conv3d.weight has shape \(600, 1024, 1, 1, 1\), not \(400, 1024, 1, 1, 1\)",
    ),
    "axes": (
        lambda a: a.update({"Mixed_3b.b1b.conv3d.weight": np.ones((3, 3, 3, 96, 128))}),
        r"not \(128, 96, 3, 3, 3\)",
    ),
    "infinite": (
        lambda a: a.update({"Mixed_3c.b0.bn.bias": np.full(128, np.inf)}),
        "b0.bn.bias is not finite",
    ),
    "variance": (
        lambda a: a.update({"Mixed_3c.b0.bn.running_var": np.full(128, -1.0)}),
        "b0.bn.running_var is below 0",
    ),
    "flow": (lambda a: a.pop("Conv3d_1a_7x7.bn.running_mean"), "no first convolution of I3D"),
    "many": (lambda a: [a.pop(k) for k in list(a)[100:160]], "and 47 more"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_are_refused_by_name(
    what: str, arrays: tuple[Arrays, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking, message = BROKEN[what]
    broken = dict(arrays[1])
    breaking(broken)
    monkeypatch.setattr(i3d, "_read_arrays", lambda path: broken)
    with pytest.raises(UserError, match=message) as caught:
        read_i3d("broken.safetensors")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_pickles_are_never_opened(tmp_path: pathlib.Path) -> None:
    for name in ("i3d.pt", "i3d.pth", "i3d.npy"):
        (tmp_path / name).write_bytes(b"anything")
        with pytest.raises(UserError, match="opens no pickles; .*torch.load.*save_file") as caught:
            read_i3d(tmp_path / name)
        assert "\n" not in str(caught.value)
        program = str(caught.value).split('"')[1]
        compile(program, "command", "exec")  # what we tell people to run is at least Python
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    with zipfile.ZipFile(tmp_path / "torch.npz", "w") as file:
        file.writestr("archive/data.pkl", b"cos\nsystem\n(S'false'\ntR.")
    (tmp_path / "short.safetensors").write_bytes(b"12")
    for name in ("objects.npz", "torch.npz", "short.safetensors", "absent.npz"):
        with pytest.raises(UserError, match="cannot read|opens no pickles") as caught:
            read_i3d(tmp_path / name)
        assert "\n" not in str(caught.value)


def slow_conv(x: np.ndarray, unit: Any, stride: int = 1) -> np.ndarray:
    """ReLU of a 'SAME' convolution (T,H,W,C) by TensorFlow's rule: the odd pixel comes after."""
    kernel, bias = (np.asarray(unit[key], np.float64) for key in ("kernel", "bias"))
    side, padded = len(kernel), slow_pad(x, kernel.shape[:3], (stride,) * 3, 0.0)
    out = np.zeros((*(-(-n // stride) for n in x.shape[:3]), kernel.shape[-1]))
    for t, h, w in np.ndindex(out.shape[:3]):
        at = (slice(stride * i, stride * i + side) for i in (t, h, w))
        out[t, h, w] = np.tensordot(padded[tuple(at)], kernel, 4) + bias
    return np.maximum(out, 0)


def slow_pool(x: np.ndarray, window: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    padded = slow_pad(x, window, strides, -np.inf)
    out = np.zeros((*(-(-n // s) for n, s in zip(x.shape[:3], strides, strict=True)), x.shape[3]))
    for where in np.ndindex(out.shape[:3]):
        at = (slice(i * s, i * s + k) for i, s, k in zip(where, strides, window, strict=True))
        out[where] = padded[tuple(at)].max((0, 1, 2))
    return out


def slow_pad(
    x: np.ndarray, window: tuple[int, ...], strides: tuple[int, ...], value: float
) -> np.ndarray:
    pads = []
    for n, k, s in zip(x.shape[:3], window, strides, strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, [*pads, (0, 0)], constant_values=value)


def test_inception_and_padding_against_numpy() -> None:
    block, x = Inception((5, 3, 6, 2, 4, 7)), np.random.default_rng(0).normal(size=(3, 5, 4, 3))
    params = block.init(jax.random.key(0), jnp.asarray(x[None]))["params"]
    params = jax.tree.map(lambda p: p + 0.1, params)  # so that biases count
    have = compile_function(block.apply)({"params": params}, jnp.asarray(x[None], jnp.float32))
    first = slow_conv(x, params["b0"])
    second = slow_conv(slow_conv(x, params["b1a"]), params["b1b"])
    third = slow_conv(slow_conv(x, params["b2a"]), params["b2b"])
    fourth = slow_conv(slow_pool(x, (3, 3, 3), (1, 1, 1)), params["b3b"])
    want = np.concatenate([first, second, third, fourth], -1)
    np.testing.assert_allclose(have[0], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(5, 8, 7), (6, 9, 10)])
def test_strided_same_padding_against_numpy(size: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(*size, 2)).astype(np.float32)
    conv = i3d._conv(3, 7, "conv", stride=2)
    params = conv.init(jax.random.key(0), x[None])["params"]
    have = jax.nn.relu(conv.apply({"params": params}, x[None]))
    np.testing.assert_allclose(have[0], slow_conv(x, params, stride=2), rtol=1e-4, atol=1e-5)
    for window, strides in (((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))):
        pooled = i3d._max_pool(jnp.asarray(x[None]), window, strides)[0]
        np.testing.assert_array_equal(pooled, slow_pool(x, window, strides).astype(np.float32))


def test_logits(params: Any) -> None:
    clip = np.random.default_rng(1).uniform(-1, 1, (1, 9, 193, 193, 3)).astype(np.float32)
    run = jax.jit(  # optimised, unlike the other tests: it saves more than it costs
        lambda params, x: I3D().apply({"params": params}, x),
        compiler_options={"xla_backend_optimization_level": 2},
    )
    logits = np.asarray(run(params, clip))
    assert logits.shape == (1, 400) and logits.dtype == np.float32
    assert np.isfinite(logits).all() and logits.std() > 0.1
    np.testing.assert_array_equal(run(params, clip), logits)
    shape = jax.eval_shape(I3D().apply, {"params": params}, jnp.zeros((2, 16, 224, 224, 3))).shape
    assert shape == (2, 400)
    for small in ((1, 8, 224, 224, 3), (1, 16, 192, 224, 3)):
        with pytest.raises(ValueError, match="9 frames of 193 x 193"):
            jax.eval_shape(I3D().apply, {"params": params}, jnp.zeros(small))
