"""The public face: load a run, then prompt, script or image in, clip out.

pipe = jaxvid.load("runs/quickstart")
pipe.generate("a large red circle moves to the right", seed=0).save("circle.mp4")
"""

import dataclasses
import pathlib

import jax
import numpy as np

from jaxvid import grammar, training
from jaxvid.config import DataConfig
from jaxvid.data import tokenizer
from jaxvid.data.batch import collate
from jaxvid.data.captions import caption
from jaxvid.data.source import Example
from jaxvid.data.transforms import fit
from jaxvid.io.media import write_video
from jaxvid.models.generator import Generator
from jaxvid.models.planner import Planner, sample
from jaxvid.parallel import compile_function
from jaxvid.script import Script, from_json
from jaxvid.steps.sample import make_sampler, to_bytes
from jaxvid.typing import Params, UserError
from jaxvid.video.compose import join

WATCHABLE = 256  # pixels; smaller clips are enlarged by whole factors when they are saved


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """A finished clip: ``video`` (T,H,W,3) uint8 sRGB, and what it was made from."""

    video: np.ndarray
    fps: float
    prompt: str | None = None
    script: Script | None = None

    def save(self, path: str | pathlib.Path, *, scale: int | None = None) -> pathlib.Path:
        """Writes mp4, gif or webp by the extension.

        ``scale`` enlarges each pixel to a square of so many; None: to about 256 pixels of height.
        """
        if scale is None:
            scale = max(1, WATCHABLE // self.video.shape[1])
        path = pathlib.Path(path)
        write_video(path, self.video, fps=self.fps, scale=scale)
        return path


class Pipeline:
    """A planner (where the run has one) and a generator, ready to be asked. See ``load``."""

    def __init__(
        self,
        data: DataConfig,
        generator: Generator,
        params: Params,
        planner: Planner | None = None,
        planner_params: Params = None,
    ) -> None:
        self.data = data
        self._params, self._planner_params = params, planner_params
        self._sample = compile_function(make_sampler(generator))
        self._plan = None
        if planner is not None:
            self._plan = compile_function(
                lambda params, text, key: sample(planner, params, text, key, greedy="attributes")[0]
            )

    def plan(self, prompt: str, *, seed: int = 0) -> Script:
        """The script that the planner reads out of the prompt; ``seed`` fills what is left open.

        Raises UserError for an empty or too long prompt, and where the run has no planner.
        """
        if self._plan is None:
            raise UserError("this run has no planner; train one with python -m train.planner")
        text = tokenizer.encode(
            tokenizer.check_prompt(prompt, self.data.text_length), self.data.text_length
        )
        tokens = self._plan(self._planner_params, text[None], jax.random.key(seed))
        side = self.data.resolution
        return grammar.decode(
            np.asarray(tokens[0]), frames=self.data.frames, fps=self.data.fps, size=(side, side)
        )

    def generate(
        self,
        prompt: str | None = None,
        *,
        script: Script | None = None,
        image: np.ndarray | None = None,
        seed: int = 0,
    ) -> Clip:
        """A clip from a prompt, or from a script as it stands.

        ``image`` (H,W,3) uint8, cut to a square, becomes the first frame. The same arguments give
        the same clip. Raises UserError for bad prompts.
        """
        if prompt is None and script is None:
            raise UserError("give a prompt or a script")
        if prompt is not None:
            prompt = tokenizer.check_prompt(prompt, self.data.text_length)
            if script is None and self._plan is not None:
                script = self.plan(prompt, seed=seed)
        if script is None:
            return Clip(self._shot(prompt or "", None, image, seed), self.data.fps, prompt)
        shots = []
        for i, scene in enumerate(script.scenes):
            for j, shot in enumerate(scene.shots):
                only = dataclasses.replace(
                    script, scenes=(dataclasses.replace(scene, shots=(shot,)),)
                )
                first = image if (i, j) == (0, 0) else None
                shots.append(self._shot(prompt or "", only, first, seed))
        return Clip(join(shots), script.fps, prompt, script)

    def _shot(
        self, prompt: str, script: Script | None, image: np.ndarray | None, seed: int
    ) -> np.ndarray:
        """One run of frames (T,H,W,3) uint8: one pass of the generator."""
        side, fps = self.data.resolution, self.data.fps
        if not prompt and script is not None and script.scenes[0].shots[0].actors:
            # The generator was never trained on a script without a caption: write one.
            prompt = caption(script, np.random.default_rng(seed), language="en")
        frames = script.frames if script else self.data.frames
        video = np.zeros((frames, side, side, 3), np.uint8)
        mask = np.zeros((1, frames, side, side, 1), np.float32)
        if image is not None:
            video[0], mask[0, 0] = fit(image[None], side)[0], 1.0
        example = Example(video, prompt, script.fps if script else fps, script)
        batch = {
            **collate([example], [seed % 2**31], text_length=self.data.text_length),
            "mask": mask,
        }
        return np.asarray(to_bytes(self._sample(self._params, batch, jax.random.key(seed)))[0])


def load(run: str | pathlib.Path) -> Pipeline:
    """The pipeline of a run folder as the trainings write it: ``gan/``, and ``planner/`` if it is
    driven by scripts.

    Raises UserError where there is no generator or no checkpoint.
    """
    folder = pathlib.Path(run)
    generator, _, gan_state, gan_run = training.load_gan(folder / "gan")
    if gan_run.data.source != "scenes":  # own clips have no scripts: the caption alone speaks
        return Pipeline(gan_run.data, generator, gan_state.ema)
    planner, planner_state, _ = training.load_planner(folder / "planner")
    return Pipeline(gan_run.data, generator, gan_state.ema, planner, planner_state.ema)


def load_script(path: str | pathlib.Path) -> Script:
    """The script in a JSON file. Raises UserError for anything else."""
    try:
        return from_json(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
