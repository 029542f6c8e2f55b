"""Laws of weight files: what goes in comes out, to half precision, and nothing else is taken."""

import json
import pathlib

import numpy as np
import pytest

from jaxvid.io.weights import CONFIG, check_weights, read_weights, write_weights
from jaxvid.typing import UserError

RUN = json.dumps({"planner": {"width": 16}, "名": "值"}, ensure_ascii=False)


def tree() -> dict:
    rng = np.random.default_rng(0)
    return {
        "dense": {"kernel": rng.normal(size=(5, 7)).astype(np.float32), "bias": np.zeros(7)},
        "layer0": {"deep": {"er": 1e-3 * rng.normal(size=(2, 3, 4))}},
        "turned": rng.normal(size=(6, 4)).astype(np.float32).T,  # not contiguous
        "gain": np.float32(2.5),  # of no dimension
    }


def leaves(params: dict, prefix: str = "") -> dict[str, np.ndarray]:
    flat = {}
    for name, value in params.items():
        inner = isinstance(value, dict)
        flat |= leaves(value, f"{prefix}{name}/") if inner else {f"{prefix}{name}": value}
    return flat


def refusal(path: pathlib.Path) -> str:
    """The one line, naming the file, with which it is refused."""
    with pytest.raises(UserError) as caught:
        read_weights(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text
    return text


def test_round_trip_to_half_precision(tmp_path: pathlib.Path) -> None:
    path = write_weights(tmp_path / "a.safetensors", tree(), config=RUN)
    params, config = read_weights(path)
    assert config == RUN
    got, wanted = leaves(params), leaves(tree())
    assert got.keys() == wanted.keys()
    for name, array in got.items():
        assert array.dtype == np.float32 and array.shape == wanted[name].shape
        np.testing.assert_allclose(array, wanted[name], rtol=1e-3, atol=1e-7)
    check_weights(path, params, tree())
    size = sum(array.size for array in wanted.values())
    assert path.stat().st_size < 2 * size + 2000  # two bytes each, and names


def test_twice_written_is_the_same(tmp_path: pathlib.Path) -> None:
    one = write_weights(tmp_path / "1.safetensors", tree(), config=RUN)
    again = write_weights(tmp_path / "2.safetensors", read_weights(one)[0], config=RUN)
    assert one.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("value", [7e4, -1e10, np.inf, np.nan])
def test_what_does_not_fit_is_named_and_not_written(tmp_path: pathlib.Path, value: float) -> None:
    params = tree()
    params["dense"]["bias"] = np.array([1.0, value])
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(UserError, match=r"dense\.bias does not fit into float16; train") as caught:
        write_weights(path, params, config=RUN)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_files_are_whole_or_not_there(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_weights(tmp_path / "a.safetensors", tree(), config="old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UserError, match="No space left"):
        write_weights(path, tree(), config="new")
    assert read_weights(path)[1] == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(UserError, match="there is no folder"):
        write_weights(tmp_path / "none" / "a.safetensors", tree(), config="new")


def test_other_files_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.safetensors"
    assert "cannot read" in refusal(path)
    assert "cannot read" in refusal(tmp_path)
    whole = write_weights(tmp_path / "b.safetensors", tree(), config=RUN).read_bytes()
    for data in (b"", b"garbage\n" * 500, b"\xff" * 100, whole[:-9], whole[:100], whole + b"x"):
        path.write_bytes(data)
        assert "cannot read" in refusal(path)


def test_weights_of_others_are_refused(tmp_path: pathlib.Path) -> None:
    import safetensors.numpy

    path = tmp_path / "a.safetensors"
    for metadata in (None, {"format": "pt"}):
        safetensors.numpy.save_file({"w": np.zeros(3, np.float32)}, path, metadata)
        assert "was not written by jaxvid export" in refusal(path)
    safetensors.numpy.save_file(
        {"w": np.zeros(3, np.float32), "w.b": np.zeros(3, np.float32)}, path, {CONFIG: RUN}
    )
    assert "w.b is inside of an array" in refusal(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p["dense"].update(bias=np.zeros(8)), r"dense.bias has shape \(8,\), .* \(7,\)"),
        (lambda p: p["dense"].pop("bias"), r"dense.bias has shape None, .* \(7,\)"),
        (lambda p: p.update(more=np.zeros(2)), r"more has shape \(2,\), .* None"),
        (lambda p: p.update(dense=np.zeros(2)), r"dense has shape \(2,\), .* None"),
    ],
    ids=["shape", "missing", "foreign", "nested"],
)
def test_other_shapes_are_named(change, says) -> None:
    params = tree()
    change(params)
    with pytest.raises(UserError, match=f"^file: {says}; train it anew") as caught:
        check_weights("file", params, tree())
    assert "\n" not in str(caught.value)
