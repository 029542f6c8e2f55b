"""The public face: load a run, then prompt, script or image in, clip out.

pipe = jaxvid.load("runs/quickstart")
pipe.generate("a large red circle moves to the right", seed=0).save("circle.mp4")
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxvid import config as configs
from jaxvid import reinforce, screenwriter, training
from jaxvid.assets import shot_backdrop
from jaxvid.clip import Clip
from jaxvid.config import GanRun
from jaxvid.data import tokenizer
from jaxvid.data.batch import collate
from jaxvid.data.pieces import Draw
from jaxvid.data.render import render_shot
from jaxvid.data.source import Example
from jaxvid.data.stories import word
from jaxvid.data.transforms import check_picture, fit
from jaxvid.film import Canvas, fill
from jaxvid.io.weights import write_weights
from jaxvid.observe import observe
from jaxvid.parallel import compile_function
from jaxvid.reinforce import SHIPPED
from jaxvid.screenwriter import Draft, Screenwriter
from jaxvid.script import COLORS, Fill, Scene, Script, tracks
from jaxvid.shapes import PALETTE
from jaxvid.staging import outline_of
from jaxvid.steps.sample import make_sampler, to_bytes
from jaxvid.training import Nets
from jaxvid.typing import HostBatch, Params, UserError
from jaxvid.video.compose import edit, over
from jaxvid.video.matte import matte

MOST = 100_000  # frames of a clip
Frames = np.ndarray  # (T,H,W,3) uint8, or one of them, or a mask of them
Fps = float | None  # frames a second; None: those of the run's clips


@dataclasses.dataclass(frozen=True)
class Ask:
    """What goes with every pass of the generator, beside script and caption."""

    seed: int = 0
    label: int = 0  # 1 + class of the clip; 0: none
    guidance: float | int = 1.0
    keys: bool = True  # key frames first, then the frames between, where a clip has several passes


class Pipeline:
    """A screenwriter (where scripts drive the generator) and a generator. See ``load``.

    Its methods are one network under different masks: nothing known or the first frame
    (``generate``), the beginning (``extend``), frames on both sides (``interpolate``), all but a
    region (``inpaint``). Known pixels come back bit for bit.
    """

    def __init__(
        self,
        run: GanRun,
        nets: Nets,
        params: Params,
        writer: Callable[[], Screenwriter] | None = None,
    ) -> None:
        """``writer`` loads the screenwriter when a prompt first asks for it: scripts need none."""
        self.data = run.data
        self._load_writer = writer
        self._params = params
        samplers = (
            make_sampler(nets.generator, nets.policy, dtype=run.compute.dtype, guided=guided)
            for guided in (False, True)
        )
        self._sample, self._sample_guided = map(compile_function, samplers)

    @functools.cached_property
    def writer(self) -> Screenwriter | None:
        """Who reads prompts; None where the captions alone drive the generator."""
        return None if self._load_writer is None else self._load_writer()

    def plan(self, prompt: str, **options: Any) -> Script:
        """The script that the planner reads out of the prompt; as ``draft``."""
        return self.draft(prompt, **options).script

    def draft(
        self,
        prompt: str,
        *,
        image: np.ndarray | None = None,
        frames: int | None = None,
        seed: int = 0,
    ) -> Draft:
        """The script of the prompt and of the picture beside it, with what the planner read, from
        which words, and what it is not sure of.

        ``frames`` of each shot; None: those of the run's clips. ``seed`` fills what is left open.
        Raises UserError for an empty or too long prompt, and where the run has no planner.
        """
        if self.writer is None:
            raise UserError("this run has no planner; train one with python -m train.planner")
        data, size = self.data, (self.data.resolution, self.data.resolution)
        frames = data.frames if frames is None else frames
        return self.writer.write(
            prompt, image=image, seed=seed, frames=frames, fps=data.fps, size=size
        )

    def generate(
        self,
        prompt: str | None = None,
        *,
        script: Script | None = None,
        image: np.ndarray | None = None,
        label: str | None = None,
        frames: int | None = None,
        guidance: float | int = 1.0,
        seed: int = 0,
        folder: pathlib.Path | None = None,
    ) -> Clip:
        """A clip from a prompt, or from a script as it stands; all its shots, joined in order.

        ``image`` (H,W,3) uint8, cut to a square, becomes the first frame, before the camera moves.
        ``label`` is one of the classes that the data of the run has. ``frames``: of the clip, or of
        each shot of a prompt; more than were trained on are made in several passes. ``guidance``
        over 1 exaggerates the conditions. ``folder`` has the pictures that the script names. A shot
        without actors shows what is behind them, or ``image``. Where a run of own clips is given
        neither prompt nor label, any clip comes. The same arguments give the same clip. Raises
        UserError for bad prompts, pictures and labels.
        """
        ask = self._ask(seed, label, guidance)
        if self._load_writer is None:
            if script is not None:
                raise UserError("this run learnt from captions alone; leave the script out")
            canvas, caption = self._blank(frames or self.data.frames, image), self._caption(prompt)
            return Clip(self._fill(canvas, caption, None, ask), self.data.fps, prompt)
        if script is None:
            if prompt is None:
                raise UserError("give a prompt or a script")
            script = self.plan(prompt, image=image, frames=frames, seed=ask.seed)
        elif frames is not None:
            raise UserError("a script says how many frames its shots have; set frames there")
        places = [(i, j) for i, scene in enumerate(script.scenes) for j in range(len(scene.shots))]
        behind = [self._backdrop(script, *at, folder) for at in places]  # before any is filmed
        if image is not None and behind[0] is not None:
            raise UserError("a first frame shows its own background; name one in scenes[0]")
        shots = [
            self._shot(script, *at, image if at == places[0] else None, ask, backdrop)
            for at, backdrop in zip(places, behind, strict=True)
        ]
        return Clip(edit(script, shots), script.fps, prompt, script)

    def extend(
        self, video: Frames, frames: int, *, fps: Fps = None, prompt: str | None = None, **ask: Any
    ) -> Clip:
        """The clip (T,H,W,3) uint8, and ``frames`` more, in windows that slide on.

        ``video`` has the size of the run's clips, and ``fps``; None: that of the run. ``prompt``
        says what comes next; without one, what moves in an embedded scene moves on. The keywords
        (``label``, ``seed``, ``guidance``) are as in ``generate``.
        """
        fps = fps or self.data.fps
        if frames < 1:
            raise UserError(f"frames is {frames}; ask for at least one more")
        canvas = self._blank(len(self._check(video)) + frames, None, fps)
        canvas.video[: len(video)], canvas.known[: len(video)] = video, True
        if self._load_writer is None:
            return self._edit(canvas, prompt, fps, ask)
        plan = self._next(prompt, video[-1], frames + 1, fps, ask)
        script = observe(video, len(canvas.video), fps=fps, plan=plan)
        return self._edit(canvas, prompt, fps, ask, script)

    def interpolate(
        self,
        video: np.ndarray,
        *,
        factor: int = 2,
        fps: float | int | None = None,
        prompt: str | None = None,
        **ask: Any,
    ) -> Clip:
        """Frames between those of a clip (T,H,W,3) uint8: ``factor`` times as many a second.

        ``fps`` of the clip; None: the run's. The result has (T - 1) factor + 1 frames.
        """
        if not 2 <= factor <= 64:
            raise UserError(f"{factor} is no factor to interpolate by; use a factor of 2 to 64")
        at = np.arange((len(self._check(video)) - 1) * factor + 1) / factor
        return self.inbetween(video, at, fps=(fps or self.data.fps) * factor, prompt=prompt, **ask)

    def inbetween(
        self,
        video: np.ndarray,
        at: Sequence[float | int] | np.ndarray,
        *,
        fps: float | int | None = None,
        prompt: str | None = None,
        **ask: Any,
    ) -> Clip:
        """The frames at any times ``at`` between those of a clip, in order, uneven if you like.

        Times count frames: 1.5 is halfway between the second and third; whole ones are the clip's.
        """
        video, wanted = self._check(video), np.asarray(at, np.float64)
        if len(video) < 2:
            raise UserError("there is nothing between one frame; give two frames or more")
        if not len(wanted) or (np.diff(wanted) <= 0).any() or not np.isfinite(wanted).all():
            raise UserError("the times must be finite and go up; sort them")
        if wanted[0] < 0 or wanted[-1] > len(video) - 1:
            raise UserError(f"the times must lie in the clip, 0 to {len(video) - 1}")
        inner = np.unique(np.concatenate([np.arange(len(video), dtype=float), wanted]))
        whole = inner == np.round(inner)
        gap = min(8.0, max(2.0, 1.0 / np.diff(inner).min()))  # trained frames between known ones
        canvas = self._blank(len(inner), None)
        canvas = dataclasses.replace(canvas, times=(inner * gap / self.data.fps).astype(np.float32))
        canvas.video[whole], canvas.known[whole] = video, True
        clip = self._edit(canvas, prompt, fps or self.data.fps, ask)
        return dataclasses.replace(clip, video=clip.video[np.searchsorted(inner, wanted)])

    def inpaint(
        self, video: Frames, hole: Frames, *, fps: Fps = None, prompt: str | None = None, **ask: Any
    ) -> Clip:
        """The clip (T,H,W,3) uint8 with the pixels made anew where ``hole`` (H,W) or (T,H,W) is
        True. ``prompt`` says what it shows; without one, that is read from all of an embedded
        scene, the hole's old pixels too. ``fps`` of the clip; None: the run's.
        """
        fps = fps or self.data.fps
        canvas = self._blank(len(self._check(video)), None, fps)
        if np.shape(hole) not in (video.shape[1:3], video.shape[:3]):
            raise UserError(f"the hole has shape {np.shape(hole)}; it needs {video.shape[:3]}")
        canvas.video[:], canvas.known[:] = video, ~np.asarray(hole, bool)
        script = self._next(prompt, video[0], len(video), fps, ask)
        if script is None and self._load_writer is not None:
            script = observe(video, len(video), fps=fps)
        return self._edit(canvas, prompt, fps, ask, script)

    def _next(
        self, prompt: str | None, image: Frames, frames: int, fps: float, ask: dict[str, Any]
    ) -> Script | None:
        """The one shot that a prompt tells of, beginning with the picture; None without either."""
        if prompt is None or self._load_writer is None:
            return None
        script = self.plan(prompt, image=image, frames=frames, seed=ask.get("seed", 0))
        if script.frames != frames:
            raise UserError("the prompt tells of several shots; an edit is of one")
        return dataclasses.replace(script, fps=float(fps))

    def _edit(
        self,
        canvas: Canvas,
        prompt: str | None,
        fps: float | int,
        ask: dict[str, Any],
        script: Script | None = None,
    ) -> Clip:
        known = {"seed": 0, "label": None, "guidance": 1.0} | ask
        if strange := sorted(known.keys() - {"seed", "label", "guidance"}):
            raise TypeError(f"unknown argument {strange[0]!r}; use seed, label, guidance")
        asked = self._ask(**known)
        caption = self._caption(prompt) if script is None else _caption(script, asked.seed)
        return Clip(self._fill(canvas, caption, script, asked), float(fps), prompt, script)

    def _ask(self, seed: int, label: str | None, guidance: float | int) -> Ask:
        classes = self.data.classes
        if label is not None and label not in classes:
            has = f"it has {', '.join(classes[:20])}" if classes else "it was trained without any"
            raise UserError(f"the run has no class {label!r}; {has}")
        if not 0 <= guidance <= 100:
            raise UserError(f"guidance is {guidance}; 1 is as trained, more saturates colours soon")
        return Ask(seed % 2**31, 1 + classes.index(label) if label else 0, guidance)

    def _caption(self, prompt: str | None) -> str:
        return "" if prompt is None else tokenizer.check_prompt(prompt, self.data.text_length)

    def _check(self, video: np.ndarray) -> np.ndarray:
        side = self.data.resolution
        if video.dtype != np.uint8 or video.shape[1:] != (side, side, 3) or not len(video):
            raise UserError(
                f"the video is {video.dtype} {video.shape}; this run needs uint8 (frames, {side}, "
                f"{side}, 3): see jaxvid.data.transforms.fit"
            )
        return video

    def _blank(self, frames: int, image: Frames | None, fps: Fps = None) -> Canvas:
        """Nothing known, or the first frame."""
        if not 1 <= frames <= MOST:
            raise UserError(f"{frames} frames cannot be made; ask for 1 to {MOST:,}")
        side = self.data.resolution
        video, known = np.zeros((frames, side, side, 3), np.uint8), np.zeros((frames, side, side))
        if image is not None:
            video[0], known[0] = fit(check_picture(image)[None], side)[0], 1
        rate = max(fps or self.data.fps, self.data.fps / 4)  # beyond, no times were trained on
        return Canvas(video, known > 0, np.arange(frames, dtype=np.float32) / np.float32(rate))

    def _backdrop(
        self, script: Script, i: int, j: int, folder: pathlib.Path | None
    ) -> np.ndarray | None:
        """What a shot stands before, (S,H,W,3) uint8; None where the generator paints that too."""
        place, size = script.scenes[i].background, (self.data.resolution, self.data.resolution)
        if isinstance(place, Fill):
            return np.full((1, *size, 3), place.color, np.uint8)
        return shot_backdrop(script, i, j, size=size, folder=folder)

    def _shot(
        self, script: Script, i: int, j: int, image: Frames | None, ask: Ask, behind: Frames | None
    ) -> np.ndarray:
        """One shot before its background, (T,H,W,3) uint8."""
        shot = script.scenes[i].shots[j]
        canvas = self._blank(shot.frames, image, script.fps)
        if not shot.actors:  # nothing moves: what is behind them, or the picture
            behind = behind if image is None else canvas.video[:1]
            return render_shot(script, i, j, size=canvas.video.shape[1:3], backdrop=behind)
        key = script.scenes[i].background if behind is None else _key(script, i, j)
        only = dataclasses.replace(script, scenes=(Scene(key, (shot,)),), spans=())
        video = self._fill(canvas, _caption(only, ask.seed), only, ask)
        if behind is None:
            return video
        track = tracks(only)
        colors_N3 = PALETTE[np.maximum(track.attributes_N3[:, 1] - 1, 0)]
        cut = matte(video, track.boxes_TN4, track.visible_TN, colors_N3)
        return over(cut.foreground_THWC, behind, cut.alpha_THW)

    def _fill(self, canvas: Canvas, caption: str, script: Script | None, ask: Ask) -> np.ndarray:
        """The canvas (T,H,W,3) with all unknown pixels filled in, in as many passes as needed."""
        example = Example(canvas.video, caption, self.data.fps, script, label=ask.label)
        conditions = collate([example], [ask.seed], text_length=self.data.text_length)
        key = jax.random.key(ask.seed)

        def sample(batch: HostBatch) -> np.ndarray:
            if ask.guidance == 1:
                return np.asarray(to_bytes(self._sample(self._params, batch, key))[0])
            batch = batch | {"guidance": np.array([ask.guidance], np.float32)}
            return np.asarray(to_bytes(self._sample_guided(self._params, batch, key))[0])

        return fill(sample, canvas, conditions, window=max(2, self.data.frames), keys=ask.keys)


def _caption(script: Script, seed: int) -> str:
    """What the one shot shows, in captions as the generator was trained on."""
    return word(outline_of(script), Draw(np.random.default_rng(seed)), "en", plain=True).text


def _key(script: Script, i: int, j: int) -> str:
    """The plain background that a shot's colours stand out from most, to cut its actors out."""
    entities = {entity.id: entity for entity in script.entities}
    shown = {COLORS.index(entities[a.entity].color) for a in script.scenes[i].shots[j].actors}
    light = max((float(PALETTE[n].mean()) for n in shown), default=0.0)
    return "dark_plain" if light > 110 else "light_plain"


def load(
    run: str | pathlib.Path | None = None, *, planner: str | pathlib.Path | None = None
) -> Pipeline:
    """The pipeline of a run folder as the trainings write it: ``gan/``, and ``planner/`` if it is
    driven by scripts; of its ``rl/``, which train.rl tuned; or of a file of exported weights; None:
    the generator that comes with jaxvid.

    ``planner``: another one, a run folder, a file of exported weights, or "shipped" for the one
    that comes with jaxvid, which also serves generators without their own. Raises UserError where
    there is no generator or no checkpoint.
    """
    path = SHIPPED if run is None or str(run) == "shipped" else pathlib.Path(run)
    if path.suffix == ".safetensors":
        nets, params, gan_run = training.read_generator(path)
    elif os.path.isfile(path / "generator.json"):
        nets, params, gan_run = reinforce.load_rl(path)
        path = path.parent
    else:
        nets, state, gan_run = training.load_gan(path / "gan")
        params = state.ema
    if gan_run.data.source != "scenes":  # own clips have no scripts: the caption alone speaks
        if planner is not None:
            raise UserError(f"{path} learnt from captions alone; leave the planner out")
        return Pipeline(gan_run, nets, params)
    if planner is None:
        planner = path if os.path.isdir(path / "planner") else "shipped"
    chosen = None if planner == "shipped" else planner
    writer = functools.partial(screenwriter.load, chosen)
    return Pipeline(gan_run, nets, params, writer)


def export(run: str | pathlib.Path, out: str | pathlib.Path) -> pathlib.Path:
    """Writes the generator of a run folder as one file of weights, which ``load`` reads.

    Raises UserError where there is no generator, or the file cannot be written.
    """
    folder = pathlib.Path(run)
    if os.path.isfile(folder / "generator.json"):
        _, params, gan_run = reinforce.load_rl(folder)
    else:
        _, state, gan_run = training.load_gan(folder / "gan")
        params = {name: tree for name, tree in state.ema.items() if name != "posterior"}
    return write_weights(out, jax.device_get(params), config=configs.to_json(gan_run))
