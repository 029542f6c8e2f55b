"""The public face: load a run, then prompt, script or image in, clip out.

pipe = jaxvid.load("runs/quickstart")
pipe.generate("a large red circle moves to the right", seed=0).save("circle.mp4")
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import jax
import numpy as np

from jaxvid import screenwriter, training
from jaxvid.assets import read_backdrop
from jaxvid.config import DataConfig
from jaxvid.data import tokenizer
from jaxvid.data.batch import collate
from jaxvid.data.pieces import Draw
from jaxvid.data.source import Example
from jaxvid.data.stories import word
from jaxvid.data.transforms import fit
from jaxvid.io.media import atomic_write_text, write_video
from jaxvid.models.generator import Generator
from jaxvid.parallel import compile_function
from jaxvid.screenwriter import Screenwriter
from jaxvid.script import COLORS, Fill, Picture, Scene, Script, from_json, tracks
from jaxvid.shapes import PALETTE
from jaxvid.staging import outline_of
from jaxvid.steps.sample import make_sampler, to_bytes
from jaxvid.typing import Params, UserError
from jaxvid.video import subtitles
from jaxvid.video.compose import edit, over
from jaxvid.video.matte import matte

WATCHABLE = 256  # pixels; smaller clips are enlarged by whole factors when they are saved
SCRIPT_BYTES = 4_000_000  # of a script's file; longer ones are not read


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """A finished clip: ``video`` (T,H,W,3) uint8 sRGB, and what it was made from."""

    video: np.ndarray
    fps: float
    prompt: str | None = None
    script: Script | None = None

    def save(
        self, path: str | pathlib.Path, *, scale: int | None = None, burn: bool = False
    ) -> pathlib.Path:
        """Writes mp4, gif or webp by the extension; narrations go beside it as ``.srt``.

        ``scale`` enlarges each pixel to a square of so many; None: to about 256 pixels of height.
        ``burn`` draws the narrations into the picture instead.
        """
        if scale is None:
            scale = max(1, WATCHABLE // self.video.shape[1])
        path, video = pathlib.Path(path), self.video
        cues = subtitles.srt(self.script) if self.script is not None else ""
        if burn and cues and self.script is not None:
            video = np.repeat(np.repeat(video, scale, axis=1), scale, axis=2)
            video, scale = subtitles.burn(video, self.script), 1
        write_video(path, video, fps=self.fps, scale=scale)
        if cues and not burn:
            atomic_write_text(path.with_suffix(".srt"), cues)
        return path


class Pipeline:
    """A screenwriter (where scripts drive the generator) and a generator. See ``load``."""

    def __init__(
        self,
        data: DataConfig,
        generator: Generator,
        params: Params,
        writer: Callable[[], Screenwriter] | None = None,
    ) -> None:
        """``writer`` loads the screenwriter when a prompt first asks for it: scripts need none."""
        self.data = data
        self._load_writer = writer
        self._params = params
        self._sample = compile_function(make_sampler(generator))

    @functools.cached_property
    def writer(self) -> Screenwriter | None:
        """Who reads prompts; None where the captions alone drive the generator."""
        return None if self._load_writer is None else self._load_writer()

    def plan(self, prompt: str, *, image: np.ndarray | None = None, seed: int = 0) -> Script:
        """The script that the planner reads out of the prompt, and of the picture beside it.

        ``seed`` fills what is left open. Raises UserError for an empty or too long prompt, and
        where the run has no planner.
        """
        if self.writer is None:
            raise UserError("this run has no planner; train one with python -m train.planner")
        data, size = self.data, (self.data.resolution, self.data.resolution)
        draft = self.writer.write(
            prompt, image=image, seed=seed, frames=data.frames, fps=data.fps, size=size
        )
        return draft.script

    def generate(
        self,
        prompt: str | None = None,
        *,
        script: Script | None = None,
        image: np.ndarray | None = None,
        seed: int = 0,
        folder: pathlib.Path | None = None,
    ) -> Clip:
        """A clip from a prompt, or from a script as it stands; all its shots, joined in order.

        ``image`` (H,W,3) uint8, cut to a square, becomes the first frame, before the camera moves.
        ``folder`` is where the pictures are that the script names. The same arguments give the same
        clip. Raises UserError for bad prompts, and for pictures that cannot be used.
        """
        if prompt is None and script is None:
            raise UserError("give a prompt or a script")
        seed %= 2**31  # any integer is one
        if script is None and prompt is not None:
            if self.writer is None:
                prompt = tokenizer.check_prompt(prompt, self.data.text_length)
                return Clip(self._frames(prompt, None, image, seed), self.data.fps, prompt)
            script = self.plan(prompt, image=image, seed=seed)
        assert script is not None
        shots: list[np.ndarray] = []
        for i, scene in enumerate(script.scenes):
            for j in range(len(scene.shots)):
                first = None if shots else image
                shots.append(self._shot(script, i, j, first, seed, folder))
        return Clip(edit(script, shots), script.fps, prompt, script)

    def _shot(
        self,
        script: Script,
        i: int,
        j: int,
        image: np.ndarray | None,
        seed: int,
        folder: pathlib.Path | None,
    ) -> np.ndarray:
        """One shot before its background, (T,H,W,3) uint8."""
        scene = script.scenes[i]
        shot, named = scene.shots[j], scene.background
        side, backdrop = self.data.resolution, None
        if isinstance(named, Picture):
            backdrop = read_backdrop(
                folder, named.image, size=(side, side), frames=shot.frames, fps=script.fps
            )
        elif isinstance(named, Fill):
            backdrop = np.full((1, side, side, 3), named.color, np.uint8)
        key = _key(script, i, j) if backdrop is not None else named
        only = dataclasses.replace(script, scenes=(Scene(key, (shot,)),), spans=())
        if not shot.actors:
            raise UserError(f"script: scenes[{i}].shots[{j}]: needs at least one actor to film")
        # The generator reads captions as it was trained on: one of what this shot shows.
        caption = word(outline_of(only), Draw(np.random.default_rng(seed)), "en", plain=True).text
        video = self._frames(caption, only, image, seed)
        if backdrop is None:
            return video
        track = tracks(only)
        colors_N3 = PALETTE[np.maximum(track.attributes_N3[:, 1] - 1, 0)]
        cut = matte(video, track.boxes_TN4, track.visible_TN, colors_N3)
        return over(cut.foreground_THWC, backdrop, cut.alpha_THW)

    def _frames(
        self, caption: str, script: Script | None, image: np.ndarray | None, seed: int
    ) -> np.ndarray:
        """One run of frames (T,H,W,3) uint8: one pass of the generator."""
        side, fps = self.data.resolution, self.data.fps
        frames = script.frames if script else self.data.frames
        video = np.zeros((frames, side, side, 3), np.uint8)
        mask = np.zeros((1, frames, side, side, 1), np.float32)
        if image is not None:
            video[0], mask[0, 0] = fit(image[None], side)[0], 1.0
        example = Example(video, caption, script.fps if script else fps, script)
        batch = {
            **collate([example], [seed], text_length=self.data.text_length),
            "mask": mask,
        }
        return np.asarray(to_bytes(self._sample(self._params, batch, jax.random.key(seed)))[0])


def _key(script: Script, i: int, j: int) -> str:
    """The plain background that a shot's colours stand out from most, to cut its actors out."""
    entities = {entity.id: entity for entity in script.entities}
    shown = {COLORS.index(entities[a.entity].color) for a in script.scenes[i].shots[j].actors}
    light = max((float(PALETTE[n].mean()) for n in shown), default=0.0)
    return "dark_plain" if light > 110 else "light_plain"


def load(run: str | pathlib.Path, *, planner: str | pathlib.Path | None = None) -> Pipeline:
    """The pipeline of a run folder as the trainings write it: ``gan/``, and ``planner/`` if it is
    driven by scripts.

    ``planner``: another one, a run folder, a file of exported weights, or "shipped" for the one
    that comes with jaxvid, which also serves runs without their own. Raises UserError where there
    is no generator or no checkpoint.
    """
    folder = pathlib.Path(run)
    generator, _, gan_state, gan_run = training.load_gan(folder / "gan")
    if gan_run.data.source != "scenes":  # own clips have no scripts: the caption alone speaks
        return Pipeline(gan_run.data, generator, gan_state.ema)
    if planner is None:
        planner = folder if (folder / "planner").is_dir() else "shipped"
    chosen = None if planner == "shipped" else planner
    writer = functools.partial(screenwriter.load, chosen)
    return Pipeline(gan_run.data, generator, gan_state.ema, writer)


def load_script(path: str | pathlib.Path) -> Script:
    """The script in a JSON file. Raises UserError for anything else."""
    path = pathlib.Path(path)
    try:
        if (size := path.stat().st_size) > SCRIPT_BYTES:
            raise UserError(f"{path} has {size:,} bytes; a script has at most {SCRIPT_BYTES:,}")
        return from_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
