"""Laws of the machine code for layers: against the formula by XLA, to any order of derivative."""

import functools
import importlib.util
import platform
import shutil
import sys
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid.models.blocks import Dense, ResidualConv
from jaxvid.models.conditions import SceneField
from jaxvid.ops import few, flash, kernel, layout, machine, machine_code, paint, residual, thin
from jaxvid.ops.attention import attention

RNG = np.random.default_rng(0)
PRODUCTS = ("dot_general", "convolution")


@pytest.fixture(autouse=True)
def one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a computer with one: the tests have eight, with which XLA's way is taken."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)


def normal(*shape: int) -> jax.Array:
    scale = np.sqrt(shape[0]) if len(shape) == 2 else 2.0
    return jnp.asarray(RNG.normal(size=shape) / scale, jnp.float32)


def block(N: int, H: int, W: int, C: int, F: int) -> tuple[Any, ...]:
    w2 = normal(3, 3, F, F) / F**0.5
    return normal(N, H, W, C), normal(C, F), normal(F), w2, normal(F), normal(F, C)


def scene(N: int, B: int, T: int, H: int, W: int, D: int, F: int) -> tuple[Any, ...]:
    boxes = jnp.asarray(RNG.uniform(0.2, 0.8, (B, T, N, 4)), jnp.float32)
    mapped = normal(B, N, layout.FEATURES, D)
    shapes, mask = layout.draw_parts(boxes, jnp.ones((B, T, N)), mapped, height=H, width=W)
    weights = normal(D, D), normal(D), normal(D, F), normal(F), normal(D, F), normal(N, B, F)
    return *shapes, jnp.maximum(mask, 1e-3), normal(B, H, W, F), *weights


CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "block, rows that are no whole item": (
        residual._fused,
        residual.plain,
        block(2, 20, 24, 16, 8),
    ),
    "block, one item": (residual._fused, residual.plain, block(1, 5, 8, 32, 16)),
    "scene, blocks of rows": (paint._fused, paint._plain, scene(2, 2, 3, 12, 16, 24, 32)),
    "scene, one actor, wide rows": (paint._fused, paint._plain, scene(1, 1, 2, 3, 72, 8, 16)),
    "few tokens": (few._attend, few.plain, tuple(normal(19, 8, 3, 24) for _ in range(3))),
    "few tokens, two vectors": (
        few._attend,
        few.plain,
        (normal(3, 8, 2, 16), normal(3, 16, 2, 16), normal(3, 16, 2, 16)),
    ),
    "thin": (thin._times.bind, jnp.matmul, (normal(1352, 24), normal(24, 40))),
    # three vectors at a time, one or two left over (8 or 16 floats each)
    "thin, wide": (thin._times.bind, jnp.matmul, (normal(264, 128), normal(128, 256))),
    "thin, wider": (thin._times.bind, jnp.matmul, (normal(264, 136), normal(136, 320))),
    "thin, turned": (thin._outer.bind, lambda x, g: x.T @ g, (normal(1352, 8), normal(1352, 16))),
}


def close(found: Any, expected: Any) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        scale = max(1e-6, float(jnp.abs(b).max()))
        np.testing.assert_allclose(a / scale, b / scale, atol=5e-6)


@pytest.mark.parametrize("case", CASES)
def test_output_and_gradients_are_those_of_the_formula(case: str) -> None:
    ours, plain, arrays = CASES[case]
    shape = jax.eval_shape(plain, *arrays).shape
    grad = normal(*shape)
    for run in (lambda f: f(*arrays), lambda f: jax.vjp(f, *arrays)[1](grad)):
        close(jax.jit(functools.partial(run, ours))(), jax.jit(functools.partial(run, plain))())


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_gradients_are_those_of_the_formula(case: str) -> None:
    ours, plain, arrays = CASES[case]

    def penalty(f: Any, *arrays: Any) -> Any:
        slopes = jax.grad(lambda *x: jnp.sin(f(*x)).sum(), tuple(range(len(arrays))))(*arrays)
        return sum((s**2).mean() for s in slopes)

    every = tuple(range(len(arrays)))
    found, expected = (
        jax.jit(jax.grad(functools.partial(penalty, f), every))(*arrays) for f in (ours, plain)
    )
    close(found, expected)


@pytest.mark.parametrize("case", [case for case in CASES if "thin" not in case])
def test_a_penalty_of_one_gradient_carries_no_zeros(case: str) -> None:
    """The second order of the other arrays' gradients, which nobody asks for, is left out."""
    ours, plain, arrays = CASES[case]

    def penalty(f: Any, *arrays: Any) -> Any:
        return (jax.grad(lambda *x: jnp.sin(f(*x)).sum())(*arrays) ** 2).mean()

    every = tuple(range(len(arrays)))
    steps = [jax.jit(jax.grad(functools.partial(penalty, f), every)) for f in (ours, plain)]
    found, expected = (step(*arrays) for step in steps)
    close(found, expected)
    many, few_enough = (
        sum(step.lower(*arrays).as_text().count(f"stablehlo.{kind}") for kind in PRODUCTS)
        for step in steps
    )
    assert many <= few_enough + 1  # one sum is a product with ones


def test_thin_products_are_differentiated_forward_and_mapped() -> None:
    x, w = normal(3, 1024, 8), normal(8, 16)
    ours, plain = (lambda x, w: thin.matmul(x, w)), jnp.matmul
    for run in (
        lambda f: jax.jvp(f, (x, w), (x + 1, w * 2))[1],
        lambda f: jax.vmap(f, (0, None))(x, w),
        lambda f: jax.vmap(f, (None, 0))(x[0], jnp.stack([w, w + 1])),
        lambda f: jax.jacfwd(lambda s: f(x * s, w))(jnp.float32(2.0)),
    ):
        close(run(ours), run(plain))


@pytest.mark.parametrize("taken", [True, False])
def test_layers_take_it_where_it_fits(taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And else, in half precision here, what XLA makes; parameters are those of dense layers."""
    called: list[str] = []

    def spy(kind: Any, name: str, *rest: Any, **options: Any) -> Any:
        called.append(name)
        return kernel.call(kind, name, *rest, **options)

    for module in (residual, paint, thin):
        monkeypatch.setattr(module, "call", spy)
    dtype = jnp.float32 if taken else jnp.bfloat16
    x = normal(2, 32, 32, 16).astype(dtype)
    for layer, names in ((ResidualConv(8), {"residual"}), (Dense(8), {"times"})):
        params = layer.init(jax.random.key(0), x)["params"]
        params = jax.tree.map(lambda p: p.astype(dtype), params)
        called.clear()
        out = layer.apply({"params": params}, x)
        assert out.dtype == dtype and set(called) == (names if taken else set())
    tree = ResidualConv(8).init(jax.random.key(0), x)["params"]
    assert {k: sorted(v) for k, v in tree.items()} == {
        "reduce": ["bias", "kernel"], "conv": ["bias", "kernel"], "expand": ["kernel"]
    }  # fmt: skip


def test_a_scene_is_the_same_both_ways() -> None:
    batch = {
        "attributes": jnp.ones((2, 2, 3), jnp.int32),
        "boxes": jnp.asarray(RNG.uniform(0.2, 0.8, (2, 3, 2, 4)), jnp.float32),
        "visible": jnp.ones((2, 3, 2)),
        "background": jnp.ones((2,), jnp.int32),
    }
    ours, plain = SceneField(16), SceneField(16, "reference")
    size = {"height": 8, "width": 16}
    params = ours.init(jax.random.key(0), batch, **size)
    close(ours.apply(params, batch, **size), plain.apply(params, batch, **size))
    assert is_taken(functools.partial(ours.apply, params, **size), batch)


def test_rows_without_an_actor_are_left_out() -> None:
    arrays = list(scene(2, 2, 3, 12, 16, 24, 32))
    hidden = np.ones(arrays[4].shape, bool)
    hidden[0, 0, :, 4:8] = hidden[1, :, 1] = hidden[1, 1, 0, 0, 3] = False
    arrays[4] = jnp.where(hidden, 0.0, arrays[4])
    grad = normal(*jax.eval_shape(paint._plain, *arrays).shape)
    ours, plain = ((out, *pull(grad)) for out, pull in
                   (jax.vjp(f, *arrays) for f in (paint._fused, paint._plain)))  # fmt: skip
    shown = ours[5] != 0  # four rows a block: all of these and no others
    assert not shown[0, 1:].any() and not shown[0, :, :, :4].any() and not shown[0, :, :, 8:].any()
    assert not shown[1, 0, [0, 2]].any() and not shown[1, 1, 0, 4:].any()
    plain = (*plain[:5], jnp.where(shown, plain[5], 0.0), *plain[6:])
    for a, b in zip(ours, plain, strict=True):
        close(a, b)
    unknown = paint._fused(*arrays[:4], arrays[4].at[1, 1, 0, 11, 2].set(jnp.nan), *arrays[5:])
    assert np.isnan(unknown[1, 0, 11, 2]).all()


def test_what_is_no_number_is_seen() -> None:
    arrays = block(1, 8, 8, 16, 8)
    bad = arrays[0].at[0, 4, 4, 0].set(jnp.nan)
    out = np.asarray(residual._fused(bad, *arrays[1:]))
    assert np.isnan(out[0, 3:6, 3:6]).all() and np.isfinite(out[0, :3]).all()


PAYLOAD = np.array(0x7FC001FF, np.uint32).view(np.float32)  # no number, and bits beside


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_number_goes_where_the_formula_takes_it(case: str) -> None:
    """From the middle of each operand to outputs and gradients, whatever its bits are."""
    ours, plain, arrays = CASES[case]
    grad = normal(*jax.eval_shape(plain, *arrays).shape)

    def run(f: Any, *arrays: Any) -> Any:
        out, pull = jax.vjp(f, *arrays)
        return out, *pull(grad)

    steps = [jax.jit(functools.partial(run, f)) for f in (ours, plain)]
    for i, x in enumerate(arrays):
        bad = np.array(x)
        bad[tuple(n // 2 for n in x.shape)] = PAYLOAD
        found, expected = (step(*arrays[:i], bad, *arrays[i + 1 :]) for step in steps)
        assert np.isnan(expected[0]).any()
        for j, (a, b) in enumerate(zip(found, expected, strict=True)):
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=f"{i} to {j}")


def is_taken(f: Any, *arrays: Any) -> bool:
    program = str(jax.make_jaxpr(f)(*arrays))
    return "ffi_call" in program or "thin_" in program


def shaped(*shapes: tuple[int, ...]) -> list[Any]:
    return [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]


def painted(*x: Any) -> Any:
    return paint.paint(layout.Parts(*x[:4]), *x[4:6], x[6:8], x[8:10], *x[10:])


LONG = 2 * thin.LONG
SIZES = {
    residual.residual: (block, (1, 4, 8, 16, 8),
                        [(1, 4, 12, 16, 8), (1, 4, 8, 12, 8), (1, 4, 8, 16, 12), (1, 4, 8, 8, 72)]),
    thin.matmul: (lambda N, C, D: shaped((N, C), (C, D)), (LONG, 8, 16),
                  [(LONG + 1, 8, 16), (LONG - 8, 8, 16), (LONG, 12, 16), (LONG, 8, 12),
                   (LONG, 512, 520)]),
    painted: (lambda *sizes: jax.eval_shape(lambda: scene(*sizes)), (1, 1, 1, 2, 8, 8, 8),
              [(1, 1, 1, 2, 12, 8, 8), (1, 1, 1, 2, 8, 12, 8), (1, 1, 1, 2, 8, 8, 12)]),
}  # fmt: skip


@pytest.mark.parametrize("layer", SIZES)
def test_sizes_that_do_not_fit_go_to_xla(layer: Any) -> None:
    made, good, bad = SIZES[layer]
    assert is_taken(layer, *made(*good))
    assert [sizes for sizes in bad if is_taken(layer, *made(*sizes))] == []


def tokens(*x: Any) -> Any:
    return few.attend(1.0, *x)


WHO = jax.ShapeDtypeStruct((2, 80), jnp.int32)
OPERANDS: dict[str, tuple[Any, Any, Any]] = {
    "block": (residual.residual, residual.plain, block(1, 4, 8, 16, 8)),
    "scene": (painted, paint._plain, scene(2, 1, 1, 2, 8, 8, 8)),
    "few tokens": (tokens, few.plain, shaped(*[(2, 8, 1, 8)] * 3)),
    "tokens": (
        lambda *x: flash.attend(1.0, *x),
        lambda *x: flash._plain(1.0, *x)[0],
        [*shaped((2, 20, 3, 8), (2, 40, 3, 8), (2, 40, 3, 8)), WHO],
    ),
}


@pytest.mark.parametrize("name", OPERANDS)
def test_operands_that_do_not_fit_one_another_are_refused_as_by_xla(name: str) -> None:
    """And none is read beyond its end; where the formula has an answer, it is that."""

    def outcome(f: Any, arrays: Any) -> Any:
        try:
            return jax.eval_shape(f, *arrays)
        except (TypeError, ValueError) as error:
            return str(error)

    ours, plain, arrays = OPERANDS[name]
    for i, x in enumerate(arrays):
        for axis in range(x.ndim):
            shape = (*x.shape[:axis], x.shape[axis] + 8, *x.shape[axis + 1 :])
            other = [*arrays[:i], jax.ShapeDtypeStruct(shape, x.dtype), *arrays[i + 1 :]]
            assert outcome(ours, other) == outcome(plain, other), (i, axis)


def test_thin_products_refuse_what_lax_refuses() -> None:
    dims = (((1,), (0,)), ((), ()))
    for C in (8, 24):
        x, w = shaped((LONG, 16), (C, 8))
        with pytest.raises(TypeError, match="contracting dim"):
            jax.eval_shape(lambda x, w: thin.dot_general(x, w, dims), x, w)


@pytest.mark.parametrize("kind", [None, jnp.float32, jnp.bfloat16])
def test_thin_products_have_the_type_that_is_asked_for(kind: Any) -> None:
    x, w = shaped((LONG, 16), (16, 8))

    def made(dot: Any, x: Any, w: Any) -> Any:
        return dot(x, w, (((1,), (0,)), ((), ())), preferred_element_type=kind)

    ours, lax = (functools.partial(made, dot) for dot in (thin.dot_general, jax.lax.dot_general))
    assert jax.eval_shape(ours, x, w) == jax.eval_shape(lax, x, w)
    assert is_taken(ours, x, w) == (kind != jnp.bfloat16)


def test_several_devices_mean_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    x = normal(LONG, 8)
    assert kernel.possible(x)
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert not kernel.possible(x)


SPREAD: dict[str, tuple[Any, Any]] = {
    "block": (residual.residual, block(1, 4, 8, 16, 8)),
    "thin": (thin.matmul, (normal(LONG, 8), normal(8, 8))),
    "few tokens": (lambda q: attention(q, q, q), (normal(2, 8, 1, 8),)),
    "tokens": (lambda q: attention(q, q, q), (normal(2, 40, 1, 8),)),
}


@pytest.mark.parametrize("case", SPREAD)
def test_where_jax_follows_what_lies_where_xla_is_taken(case: str) -> None:
    """In the checked parts of a mesh, and with axes that are part of an array's type."""
    layer, arrays = SPREAD[case]
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
    P = jax.sharding.PartitionSpec

    def slopes(*arrays: Any) -> Any:
        return jax.grad(lambda *x: layer(*x).sum(), tuple(range(len(arrays))))(*arrays)

    parts = jax.shard_map(slopes, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    assert is_taken(slopes, *arrays) and not is_taken(parts, *arrays)
    mesh = jax.make_mesh((1,), ("data",), (jax.sharding.AxisType.Explicit,), devices=mesh.devices)
    with jax.set_mesh(mesh):
        x = jax.device_put(arrays[0], jax.sharding.NamedSharding(mesh, P("data")))
        assert jax.eval_shape(layer, x, *arrays[1:]).sharding.spec[0] == "data"


@pytest.mark.parametrize("case", CASES)
def test_gradients_keep_their_type_beside_double_precision(case: str) -> None:
    ours, plain, arrays = CASES[case]
    grad = normal(*jax.eval_shape(plain, *arrays).shape)
    with jax.enable_x64(True):
        made = jax.jit(lambda *x: jax.vjp(ours, *x)[1](grad)).lower(*arrays).out_info
    assert {x.dtype for x in made} == {np.dtype("float32")}


def test_products_call_no_library_on_a_cpu_without_fused_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("all other CPUs have them")
    monkeypatch.setattr(machine, "wide", lambda: False)
    target = machine.binding.Target.from_triple(machine._target().triple)
    old = functools.partial(target.create_target_machine, cpu="x86-64", opt=2, jit=True)
    monkeypatch.setattr(machine, "_target", old)
    program = machine.Program("old", 8)
    thin.Times(program, 8, 8).write()
    assert b"fmaf" not in program.compiled()


@pytest.mark.parametrize(
    "error, why",
    [(ImportError(), "pip install llvmlite"), (OSError("libstdc++.so.6: no such file"), "stdc")],
)
def test_without_llvmlite_the_reason_is_said(
    error: Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is not installed, and where its library cannot be loaded."""

    class Broken(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise error if name in ("binding", "ir") else AttributeError(name)

    for name in ("llvmlite.binding", "llvmlite.ir"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "llvmlite", Broken("llvmlite"))
    for module in (machine_code, machine):
        spec = importlib.util.spec_from_file_location("fresh", module.__file__)
        fresh = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fresh)
    assert why in fresh.refusal() and fresh.rounds()


def test_windows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: Any) -> Any:
        raise TypeError("LoadLibrary() argument 1 must be str, not None")

    monkeypatch.setattr(machine, "os", types.SimpleNamespace(name="nt"))
    monkeypatch.setattr(machine.ctypes, "CDLL", load)
    assert "POSIX" in machine.refusal.__wrapped__()


def test_machine_code_is_kept_and_what_is_damaged_is_made_again(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.jax, "config", types.SimpleNamespace())
    machine.jax.config.jax_compilation_cache_dir = str(tmp_path)
    made = []

    def make() -> bytes:
        made.append(1)
        return b"code"

    assert [machine._kept("x", make) for _ in range(2)] == [b"code"] * 2 and len(made) == 1
    (kept,) = (tmp_path / "machine").iterdir()
    assert kept.stat().st_mode & 0o077 == 0 or kept.parent.stat().st_mode & 0o077 == 0
    for damaged in (b"", kept.read_bytes()[:-1], b"\0" * len(kept.read_bytes())):
        kept.write_bytes(damaged)
        assert machine._kept("x", make) == b"code"
    assert len(made) == 4
    machine.jax.config.jax_compilation_cache_dir = None
    assert machine._kept("x", make) == b"code" and len(made) == 5


def test_what_is_kept_is_of_this_cpu_and_this_source(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, binding = machine._version.__wrapped__, machine.binding
    wide, no_features = machine.wide(), type(machine.binding.get_host_cpu_features())()
    found = [version()]
    source = shutil.copytree(machine.pathlib.Path(machine.__file__).parent, tmp_path / "ops")
    monkeypatch.setattr(machine, "__file__", str(source / "machine.py"))
    assert version() == found[0]
    with open(source / "machine_code.py", "a") as file:
        file.write("# another program")
    found.append(version())
    for owner, name, value in (
        (binding, "get_host_cpu_name", lambda: "another"),
        (binding, "get_host_cpu_features", lambda: no_features),
        (machine, "wide", lambda: not wide),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            found.append(version())
    assert len(set(found)) == 5
    monkeypatch.setattr(machine.jax, "config", types.SimpleNamespace())
    machine.jax.config.jax_compilation_cache_dir = str(tmp_path)
    for name in found:
        monkeypatch.setattr(machine, "_version", lambda name=name: name)
        assert machine._kept("x", name.encode) == name.encode()
