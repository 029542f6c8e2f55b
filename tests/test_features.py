import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid.metrics import features
from jaxvid.metrics.features import Extractor, check_i3d, distance_name, extract
from jaxvid.models import i3d
from jaxvid.models.squeezenet import _shapes, read_squeezenet, squeezenet
from jaxvid.parallel import compile_function
from jaxvid.typing import UserError

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data" / "squeezenet_imagenet"


def clips(seed: int, number: int = 96) -> np.ndarray:
    """Discs that go right and up over a textured ground, 8 frames of 24 x 24."""
    r = np.random.default_rng(seed)
    rows, cols = np.mgrid[:24, :24]
    ground = 60 + 20 * ((rows // 2 + cols // 2) % 2)
    video = np.zeros((number, 8, 24, 24, 3), np.uint8)
    for n in range(number):
        x, y, color = r.uniform(4, 8), r.uniform(16, 20), r.integers(100, 255, 3)
        for t in range(8):
            disc = (rows - y + 1.5 * t) ** 2 + (cols - x - 1.5 * t) ** 2 < 12
            video[n, t] = np.where(disc[..., None], color, ground[..., None])
    return video


def blur(video: np.ndarray) -> np.ndarray:
    wide = video.astype(np.float32)
    for axis in (2, 3):
        wide = (np.roll(wide, 1, axis) + 2 * wide + np.roll(wide, -1, axis)) / 4
    return wide.round().astype(np.uint8)


def noise(video: np.ndarray) -> np.ndarray:
    r = np.random.default_rng(5)
    return np.clip(video + r.normal(0, 20, video.shape), 0, 255).round().astype(np.uint8)


def shuffle(video: np.ndarray) -> np.ndarray:
    r = np.random.default_rng(6)
    return np.stack([clip[r.permutation(len(clip))] for clip in video])


def flicker(video: np.ndarray) -> np.ndarray:
    shift = np.random.default_rng(7).uniform(-15, 15, (*video.shape[:2], 1, 1, 1))
    return np.clip(video + shift, 0, 255).round().astype(np.uint8)


CORRUPTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "blur": blur,
    "noise": noise,
    "freeze": lambda video: np.repeat(video[:, :1], 8, 1),
    "shuffle": shuffle,
    "reverse": lambda video: video[:, ::-1],
    "flicker": flicker,
}


@pytest.fixture(scope="module")
def random_video() -> Callable[[np.ndarray], np.ndarray]:
    run = compile_function(features.random_video())
    return lambda video: np.asarray(run(np.ascontiguousarray(video)))


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_random_features_react(what: str, random_video: Callable) -> None:
    real, again, others = (random_video(clips(seed)) for seed in (0, 1, 2))
    spread = real.std(0) + 1e-3

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float((((a.mean(0) - b.mean(0)) / spread) ** 2).mean())

    floor = max(apart(real, again), apart(real, others))
    assert apart(real, random_video(CORRUPTIONS[what](clips(2)))) > 5 * floor


def test_random_networks_never_change(random_video: Callable) -> None:
    video = (np.arange(2 * 5 * 20 * 18 * 3) ** 2 % 251).astype(np.uint8).reshape(2, 5, 20, 18, 3)
    clip = random_video(video)
    assert clip.shape == (2, 256) and clip.dtype == np.float32
    golden = [
        [0.339128, 0.087876, 0.143345, -0.063039, 0.079643, 0.046823],
        [0.439543, 0.036700, 0.051135, -0.092553, 0.243273, -0.045253],
    ]
    np.testing.assert_allclose(clip[:, [0, 63, 64, 128, 192, 255]], golden, rtol=2e-4, atol=2e-5)
    frames = features.random_frames()(video)
    assert frames.shape == (2, 5, 64)
    np.testing.assert_allclose(frames.mean(1), clip[:, :64], atol=1e-5)
    assert features.random_frames().name == "random_frames"
    other = features.random_frames(1)
    assert other.name == "random_frames_1" and np.abs(other(video) - frames).max() > 0.1
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(features.random_frames()(video), frames)


def test_compiled_with_weights_as_argument_is_the_same(random_video: Callable) -> None:
    video = clips(0, 2)
    as_argument = compile_function(extract)(features.random_video(), video)
    np.testing.assert_allclose(as_argument, random_video(video), rtol=1e-5, atol=1e-5)


def test_only_uint8_clips_that_are_long_enough() -> None:
    with pytest.raises(TypeError, match="uint8|UInt8"):
        features.random_frames()(np.zeros((1, 2, 8, 8, 3), np.float32))
    with pytest.raises(UserError, match="random_video needs clips of 2 frames or more, these have"):
        features.random_video()(np.zeros((1, 1, 8, 8, 3), np.uint8))


def test_names_say_fvd_for_checked_weights_only() -> None:
    def named(name: str) -> Extractor:
        return Extractor(name, lambda params, video: video, {})

    assert distance_name(named("i3d-kinetics-400")) == "fvd"
    assert distance_name(named("i3d-kinetics-400"), "kernel") == "kvd"
    assert distance_name(named("i3d-unchecked")) == "frechet_i3d_unchecked"
    assert distance_name(named("squeezenet-v1.0-imagenet"), "kernel").startswith("kernel_squeezene")
    assert distance_name(features.random_video()) == "frechet_random_video"
    assert distance_name(features.random_video(3)) == "frechet_random_video_3"


class Brightness:
    """In the place of I3D: black and white clips are as far apart as asked for."""

    distance = features.I3D_GOLDEN

    def apply(self, variables: object, video: jax.Array) -> jax.Array:
        assert video.shape[2:] == (224, 224, 3)
        level = video.mean((1, 2, 3, 4))[:, None] / 2
        return jnp.ones((1, 400)) * level * np.sqrt(self.distance / 400)


def test_weights_other_than_those_of_fvd_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "read_i3d", lambda path: {})
    monkeypatch.setattr(features, "I3D", Brightness)
    right = features.i3d("i3d.safetensors")
    assert right.name == "i3d-kinetics-400" and right.min_frames == 10
    assert check_i3d(right) == pytest.approx(features.I3D_GOLDEN, rel=1e-4)
    monkeypatch.setattr(Brightness, "distance", 148.0)
    with pytest.raises(UserError, match="148 apart.*151.392.*not rgb_imagenet"):
        features.i3d("i3d.safetensors")
    assert features.i3d("i3d.safetensors", check=False).name == "i3d-unchecked"


def test_i3d_of_any_size_of_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "read_i3d", lambda path: i3d._like())
    extractor = features.i3d("i3d.safetensors", check=False)
    video = jax.ShapeDtypeStruct((2, 12, 48, 80, 3), jnp.uint8)
    out = jax.eval_shape(extract, extractor, video)
    assert out.shape == (2, 400) and out.dtype == jnp.float32
    with pytest.raises(UserError, match="needs clips of 10 frames or more, these have 9"):
        jax.eval_shape(extract, extractor, jax.ShapeDtypeStruct((2, 9, 48, 80, 3), jnp.uint8))


@pytest.mark.parametrize("size", [(5, 7), (16, 9), (12, 12)])
def test_squash_is_the_resize_of_tensorflow_1(size: tuple[int, int]) -> None:
    video = np.random.default_rng(0).integers(0, 256, (1, 2, *size, 3)).astype(np.uint8)
    have = np.asarray(features._squash(jnp.asarray(video), 12))
    assert have.shape == (1, 2, 12, 12, 3)
    for h, w in np.ndindex(12, 12):
        y, x = h * size[0] / 12, w * size[1] / 12
        top, left = int(y), int(x)
        low, right = min(top + 1, size[0] - 1), min(left + 1, size[1] - 1)
        above = video[:, :, top, left] * (1 - x + left) + video[:, :, top, right] * (x - left)
        below = video[:, :, low, left] * (1 - x + left) + video[:, :, low, right] * (x - left)
        want = above * (1 - y + top) + below * (y - top)
        np.testing.assert_allclose(have[:, :, h, w], want, atol=1e-3)


def test_squeezenet_files(tmp_path: pathlib.Path) -> None:
    arrays = {name: np.full(shape, 0.01, np.float32) for name, shape in _shapes().items()}
    np.savez(tmp_path / "right.npz", **arrays)  # type: ignore[arg-type]
    assert sum(x.size for x in read_squeezenet(tmp_path / "right.npz").values()) == 1_248_424
    extractor = features.squeezenet_frames(tmp_path / "right.npz")
    out = jax.eval_shape(extract, extractor, jax.ShapeDtypeStruct((2, 3, 32, 40, 3), jnp.uint8))
    assert out.shape == (2, 3, 512) and out.dtype == jnp.float32
    del arrays["fire5__conv3x3_2_b"]
    np.savez(tmp_path / "wrong.npz", **arrays)  # type: ignore[arg-type]
    (tmp_path / "pickle.npz").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    for name, message in (("wrong", "fire5__conv3x3_2_b has shape None"), ("pickle", "as npz")):
        with pytest.raises(UserError, match=message):
            features.squeezenet_frames(tmp_path / f"{name}.npz")


def test_squeezenet_knows_a_cat() -> None:
    path = DATA / "squeezenet_v1.0_dsd.npz"
    if not path.exists():
        pytest.skip("no weights of SqueezeNet")
    from skimage import data

    params, run = read_squeezenet(path), compile_function(squeezenet)
    for picture, want in ((data.chelsea(), (285, 282, 281)), (data.coffee(), (967,))):
        image = jax.image.resize(jnp.asarray(picture, jnp.float32), (227, 227, 3), "linear")
        chances = np.asarray(jax.nn.softmax(run(params, image[None])[1][0]))
        assert chances[want[0]] > 0.85
        assert tuple(np.argsort(-chances)[: len(want)]) == want
