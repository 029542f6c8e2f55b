"""Command lines: the console command ``jaxvid``, and what the scripts of ``train/`` share.

Bad input is one line on stderr and exit code 2, before JAX is started where that is possible.
"""

import dataclasses
import difflib
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import tyro

from jaxvid._version import __version__
from jaxvid.terminal import user_errors as user_errors  # the scripts take it from here
from jaxvid.typing import UserError


@dataclasses.dataclass(frozen=True)
class Generate:
    """Makes a video from a prompt, or from a script as it stands."""

    prompt: Annotated[str | None, tyro.conf.Positional] = None
    """What to show, in English or Chinese."""
    run: pathlib.Path | None = None
    """Folder of a trained run, or exported weights; by default the generator that comes along."""
    planner: pathlib.Path | None = None
    """Another planner than the run's: a run folder, exported weights, or "shipped"."""
    out: pathlib.Path = pathlib.Path("video.mp4")
    """File to write: mp4, gif or webp."""
    script: pathlib.Path | None = None
    """A storyboard (JSON) to film instead of planning one from the prompt."""
    image: pathlib.Path | None = None
    """A picture that becomes the first frame."""
    label: str | None = None
    """A class of the clips, where the run was trained on clips that have one."""
    frames: int | None = None
    """Of the video, or of each shot of a prompt; a script has its own."""
    guidance: float = 1.0
    """Over 1 exaggerates what was asked for."""
    seed: int = 0
    """Another seed fills otherwise what the prompt leaves open."""
    scale: int | None = None
    """Enlarge each pixel to a square of so many; by default to about 256 pixels of height."""
    burn: bool = False
    """Draw narrations into the picture; by default they go beside it, as .srt."""


@dataclasses.dataclass(frozen=True)
class Edit:
    """Works on a video by a trained generator: makes it longer, fuller, or part of it anew."""

    video: tyro.conf.Positional[pathlib.Path]
    """The video: a film, an animation, or a folder of numbered images."""
    extend: int | None = None
    """Go on for so many frames."""
    interpolate: int | None = None
    """So many times as many frames a second, the new ones between the old."""
    inpaint: tuple[float, float, float, float] | None = None
    """Make this box anew: left, top, width, height, in fractions of the frame."""
    prompt: str | None = None
    """What comes next (--extend), or what the video shows; else that is read from its frames."""
    run: pathlib.Path | None = None
    """Folder of a trained run, or exported weights; by default the generator that comes along."""
    out: pathlib.Path = pathlib.Path("video.mp4")
    """File to write: mp4, gif or webp."""
    label: str | None = None
    """A class of the clips, where the run was trained on clips that have one."""
    guidance: float = 1.0
    """Over 1 exaggerates what was asked for."""
    seed: int = 0
    """Another seed fills otherwise what is left open."""
    scale: int | None = None
    """Enlarge each pixel to a square of so many; by default to about 256 pixels of height."""


@dataclasses.dataclass(frozen=True)
class Script:
    """Writes the script (storyboard) that the planner reads out of a prompt, as JSON."""

    prompt: Annotated[str | None, tyro.conf.Positional] = None
    """What to show, in English or Chinese."""
    run: pathlib.Path | None = None
    """Folder of a trained run; by default the planner that comes with jaxvid."""
    out: pathlib.Path | None = None
    """File to write; by default it is printed, and a preview is written beside its script."""
    image: pathlib.Path | None = None
    """A picture that the prompt speaks of: the script takes over what it shows, and where."""
    seed: int = 0
    """Another seed fills otherwise what the prompt leaves open."""
    explain: bool = False
    """Show which words of the prompt became which slot, in colours."""
    preview: pathlib.Path | None = None
    """Draw this script without any network, as gif, webp or mp4, instead of writing one."""
    schema: bool = False
    """Print the JSON Schema of scripts, for editors and language models."""


@dataclasses.dataclass(frozen=True)
class Export:
    """Writes the planner or generator of a run as one file of weights (safetensors), to share."""

    part: tyro.conf.Positional[Literal["planner", "generator"]] = "planner"
    """Which network; jaxvid script --run FILE reads planners, generate and edit generators."""
    run: pathlib.Path = pathlib.Path("runs/story")
    """Folder of a trained run."""
    out: pathlib.Path | None = None
    """File to write; by default planner.safetensors or generator.safetensors."""


def main(argv: Sequence[str] | None = None) -> None:
    """The console command ``jaxvid``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands: dict[str, tuple[type, Callable[[Any], None]]] = {
        "generate": (Generate, _generate),
        "edit": (Edit, _edit),
        "script": (Script, _script),
        "export": (Export, _export),
    }
    with user_errors():
        if arguments[:1] == ["--version"]:
            print(f"jaxvid {__version__}")
            return
        if not arguments or arguments[0] in ("-h", "--help"):
            print("usage: jaxvid COMMAND --help")
            for name, (kind, _) in commands.items():
                print(f"  {name:<10}{(kind.__doc__ or '').splitlines()[0]}")
            raise SystemExit(0 if arguments else 2)
        name = arguments[0]
        if name not in commands:
            raise UserError(f"no command {name!r}; {nearest(name, commands)}")
        kind, command = commands[name]
        parsed: Any = tyro.cli(kind, args=arguments[1:], prog=f"jaxvid {name}")
        command(parsed)


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """Which of the known names was probably meant."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(known)}"


def _generate(options: Generate) -> None:
    from jaxvid.io.media import check_video

    nothing = options.prompt is None and options.script is None and options.label is None
    if nothing and options.run is None:
        raise UserError("give a prompt, as in: jaxvid generate 'a red circle moves to the right'")
    if options.script and options.prompt is not None:
        raise UserError("--script is filmed as it stands; leave out the prompt")
    check_video(options.out, fps=1, scale=options.scale)
    from jaxvid import parallel

    parallel.start()
    from jaxvid import pipeline
    from jaxvid.data.decode import read_image

    story = _read_script(options.script) if options.script else None
    image = read_image(options.image) if options.image else None
    planner = None if options.planner is None else str(options.planner)
    pipe = pipeline.load(options.run, planner=planner)
    folder = options.script.parent if options.script else None
    draft = None
    if story is None and options.prompt is not None and pipe.writer is not None:
        draft = pipe.draft(options.prompt, image=image, frames=options.frames, seed=options.seed)
        story = draft.script
    if story is not None:
        _check_film(story, options, pipe.data.resolution)
    clip = pipe.generate(
        options.prompt,
        script=story,
        image=image,
        label=options.label,
        frames=None if draft else options.frames,
        guidance=options.guidance,
        seed=options.seed,
        folder=folder,
    )
    clip.save(options.out, scale=options.scale, burn=options.burn)
    print(f"{options.out}: {len(clip.video)} frames at {clip.fps:g} frames a second")
    if draft is not None:
        _tell_doubts(draft)


def _check_film(story: Any, options: Generate, side: int) -> None:
    """Raises UserError, before it is filmed, for what could not be written."""
    from jaxvid.clip import WATCHABLE
    from jaxvid.io.media import check_video
    from jaxvid.video import subtitles

    check_video(options.out, fps=story.fps, scale=options.scale, side=side)
    if options.script and story.size != (side, side):
        print(f"{options.script}: filmed at {side} x {side} pixels, as trained", file=sys.stderr)
    if options.burn:
        side *= options.scale or max(1, WATCHABLE // side)
        subtitles.check(story, (side, side))


def _edit(options: Edit) -> None:
    import numpy as np

    from jaxvid.io.media import check_video

    names = ("extend", "interpolate", "inpaint")
    chosen = [name for name in names if getattr(options, name) is not None]
    if len(chosen) != 1:
        raise UserError("choose one of --extend FRAMES, --interpolate FACTOR, --inpaint X Y W H")
    if options.out.exists() and options.video.exists() and options.out.samefile(options.video):
        raise UserError(f"{options.out} is the video itself; choose another --out")
    check_video(options.out, fps=1, scale=options.scale)
    from jaxvid import parallel

    parallel.start()
    from jaxvid import pipeline
    from jaxvid.data.decode import read_video

    pipe = pipeline.load(options.run)
    side = pipe.data.resolution
    ask: dict[str, Any] = {"prompt": options.prompt, "label": options.label}
    ask |= {"guidance": options.guidance, "seed": options.seed}
    rate = None if chosen == ["interpolate"] else pipe.data.fps
    video, fps = read_video(options.video, resolution=side, fps=rate)
    made = fps * max(options.interpolate or 1, 1)
    check_video(options.out, fps=made, scale=options.scale, side=side)
    if options.extend is not None:
        clip = pipe.extend(video, options.extend, fps=fps, **ask)
    elif options.interpolate is not None:
        clip = pipe.interpolate(video, factor=options.interpolate, fps=fps, **ask)
    else:
        x, y, w, h = options.inpaint or (0, 0, 1, 1)
        at = (np.arange(side) + 0.5) / side
        hole = ((at >= y) & (at < y + h))[:, None] & ((at >= x) & (at < x + w))
        if not hole.any():
            raise UserError(
                f"--inpaint {x} {y} {w} {h} holds no pixel; give fractions of the frame"
            )
        clip = pipe.inpaint(video, hole, fps=fps, **ask)
    clip.save(options.out, scale=options.scale)
    print(f"{options.out}: {len(clip.video)} frames at {clip.fps:g} frames a second")


def _read_script(path: pathlib.Path) -> Any:
    """The script of a file; what is surely not meant is said on stderr."""
    from jaxvid.assets import load_script
    from jaxvid.lint import lint

    script = load_script(path)
    for finding in lint(script):
        print(f"{path}: {finding}", file=sys.stderr)
    return script


def _script(options: Script) -> None:
    import json

    from jaxvid.script import schema, to_json

    if options.schema:
        print(json.dumps(schema(), indent=2))
    elif options.preview is not None and options.prompt is not None:
        raise UserError("--preview draws a script that is there; leave out the prompt")
    elif options.preview is not None:
        _preview(options.preview, options.out)
    elif options.prompt is None:
        raise UserError("give a prompt, as in: jaxvid script 'a red circle moves to the right'")
    else:
        from jaxvid import parallel

        parallel.start()
        from jaxvid import screenwriter
        from jaxvid.data.decode import read_image
        from jaxvid.io.media import atomic_write_text, check_writable

        out = options.out and check_writable(options.out, kinds=(".json",))
        image = read_image(options.image) if options.image else None
        writer = screenwriter.load(options.run)
        draft = writer.write(options.prompt, image=image, seed=options.seed)
        if options.explain:
            _explain(draft)
        if out is not None:
            atomic_write_text(out, to_json(draft.script) + "\n")
            print(f"{out}: edit it, then jaxvid generate --script {out}")
        elif not options.explain:
            print(to_json(draft.script))
        _tell_doubts(draft)


def _tell_doubts(draft: Any) -> None:
    """On stderr: what is printed is the script."""
    from jaxvid.screenwriter import unsure

    if told := unsure(draft):
        print(told, file=sys.stderr)


def _preview(path: pathlib.Path, out: pathlib.Path | None) -> None:
    from jaxvid.animatic import MAX_PIXELS, animatic
    from jaxvid.clip import WATCHABLE
    from jaxvid.io.media import check_video, write_video

    script, out = _read_script(path), out or path.parent / f"{path.stem}.gif"
    H, W = script.size
    factor = max(1, min(WATCHABLE // max(H, W), int((MAX_PIXELS / (script.frames * H * W)) ** 0.5)))
    check_video(out, fps=script.fps, scale=factor, side=max(H, W))
    video = animatic(script, folder=path.parent, size=(H * factor, W * factor))
    write_video(out, video, fps=script.fps)
    print(f"{out}: {len(video)} frames at {script.fps:g} frames a second")


def _explain(draft: Any) -> None:
    """The prompt with its words in the colours of the slots that were read out of them."""
    import rich.console
    import rich.text

    from jaxvid.outline import stated

    styles = ("red", "green", "yellow", "blue", "magenta", "cyan")
    text = rich.text.Text(draft.prompt)
    console = rich.console.Console(highlight=False)
    lines, values = [], stated(draft.outline)
    for n, span in enumerate(sorted(draft.spans, key=lambda span: (span.start, span.slot))):
        style = f"bold {styles[n % len(styles)]}"
        text.stylize(style, span.start, span.end)
        words = draft.prompt[span.start : span.end]
        value = values.get(span.slot) or f"looks/{span.slot.rpartition('/')[2]}"
        lines.append(rich.text.Text.assemble(f"  {span.slot:<26} {value:<12} ", (words, style)))
    console.print(text, *lines, sep="\n", soft_wrap=True)


def _export(options: Export) -> None:
    from jaxvid.io.media import check_writable

    out = options.out or pathlib.Path(f"{options.part}.safetensors")
    check_writable(out, kinds=(".safetensors",))
    marks = {"planner": ("planner", "planner.json"), "generator": ("gan", "generator.json")}
    has = [part for part in marks if any((options.run / name).exists() for name in marks[part])]
    if has and options.part not in has:
        raise UserError(
            f"{options.run} has no {options.part}; try jaxvid export {has[0]} --run ..."
        )
    from jaxvid import pipeline, screenwriter

    write = screenwriter.export if options.part == "planner" else pipeline.export
    path = write(options.run, out)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def parse_run(
    presets: Mapping[str, Callable[[], Any]], argv: Sequence[str] | None, *, prog: str, kind: str
) -> tuple[Any, pathlib.Path, bool]:
    """What a training script is asked for: the run, its folder, and whether to only describe it.

    ``--preset`` gives the defaults, every other option overrides one knob (``--optim.lr 2e-4``).
    The folder is ``<--run>/<kind>``; ``--run`` defaults to ``runs/<preset>``, or to
    ``runs/<name of the data>`` for own data; for what tunes another run, to ``runs/quickstart``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    preset = _value(arguments, "--preset") or "quickstart"
    if preset not in presets:
        raise UserError(f"no preset {preset!r}; {nearest(preset, presets)}")
    default = presets[preset]()

    @dataclasses.dataclass(frozen=True)
    class Options:
        preset: str = "quickstart"
        """Where the defaults come from."""
        data: str | None = None
        """What to train on: scenes, folder:PATH or tfds:NAME (short for --data.source)."""
        run: pathlib.Path | None = None
        """Folder of the run."""
        dry_run: bool = False
        """Print configuration, parameters and cost of a step (train.rl: the first), and stop."""
        config: Annotated[type(default), tyro.conf.arg(name="")] = default  # type: ignore[valid-type]

    parsed = tyro.cli(Options, args=arguments, prog=prog, description=presets[preset].__doc__)
    run, tunes = parsed.config, not hasattr(default, "data")  # those have another run's data
    if parsed.data is not None and tunes:
        raise UserError(f"{prog} takes the data of the run that it tunes; leave out --data")
    if parsed.data is not None:
        run = dataclasses.replace(run, data=dataclasses.replace(run.data, source=parsed.data))
    if (folder := parsed.run) is None:
        name = "quickstart" if tunes else preset
        scheme, own, place = ("" if tunes else run.data.source).partition(":")
        if scheme == "folder":
            name = pathlib.Path(os.path.realpath(os.path.expanduser(place))).name
        elif own:
            name = place.replace("@", "/").replace(":", "/").partition("/")[0].strip(".~")
        folder = pathlib.Path("runs") / (name or "own")
    return run, folder / kind, parsed.dry_run


def _value(arguments: Sequence[str], option: str) -> str | None:
    for at, argument in enumerate(arguments):
        if argument == option and at + 1 < len(arguments):
            return arguments[at + 1]
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return None
