"""Command lines: the console command ``jaxvid``, and what the scripts of ``train/`` share.

Bad input is one line on stderr and exit code 2, before JAX is started where that is possible.
"""

import contextlib
import dataclasses
import difflib
import logging
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import tyro

from jaxvid.typing import UserError


@dataclasses.dataclass(frozen=True)
class Generate:
    """Makes a video from a prompt, or from a script as it stands."""

    prompt: Annotated[str | None, tyro.conf.Positional] = None
    """What to show, in English or Chinese."""
    run: pathlib.Path = pathlib.Path("runs/quickstart")
    """Folder of a trained run."""
    out: pathlib.Path = pathlib.Path("video.mp4")
    """File to write: mp4, gif or webp."""
    script: pathlib.Path | None = None
    """A storyboard (JSON) to film instead of planning one from the prompt."""
    image: pathlib.Path | None = None
    """A picture that becomes the first frame."""
    seed: int = 0
    """Another seed fills otherwise what the prompt leaves open."""
    scale: int | None = None
    """Enlarge each pixel to a square of so many; by default to about 256 pixels of height."""


@dataclasses.dataclass(frozen=True)
class Script:
    """Writes the script (storyboard) that the planner reads out of a prompt, as JSON."""

    prompt: Annotated[str, tyro.conf.Positional]
    """What to show, in English or Chinese."""
    run: pathlib.Path = pathlib.Path("runs/quickstart")
    """Folder of a trained run."""
    out: pathlib.Path | None = None
    """File to write; by default it is printed."""
    seed: int = 0
    """Another seed fills otherwise what the prompt leaves open."""


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turns a UserError into its line on stderr and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("jaxvid").setLevel(logging.INFO)
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        raise SystemExit(141) from None


def main(argv: Sequence[str] | None = None) -> None:
    """The console command ``jaxvid``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands: dict[str, Callable[[Any], None]] = {"generate": _generate, "script": _script}
    options: dict[str, type] = {"generate": Generate, "script": Script}
    with user_errors():
        if not arguments or arguments[0] in ("-h", "--help"):
            print("usage: jaxvid {generate,script} --help")
            raise SystemExit(0 if arguments else 2)
        name = arguments[0]
        if name not in commands:
            raise UserError(f"no command {name!r}; {nearest(name, commands)}")
        parsed: Any = tyro.cli(options[name], args=arguments[1:], prog=f"jaxvid {name}")
        commands[name](parsed)


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """Which of the known names was probably meant."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(known)}"


def _generate(options: Generate) -> None:
    from jaxvid.io.media import check_writable

    if options.prompt is None and options.script is None:
        raise UserError("give a prompt, as in: jaxvid generate 'a red circle moves to the right'")
    check_writable(options.out, kinds=(".mp4", ".gif", ".webp"))
    from jaxvid import parallel

    parallel.start()
    from jaxvid import pipeline
    from jaxvid.data.decode import read_image

    story = pipeline.load_script(options.script) if options.script else None
    image = read_image(options.image) if options.image else None
    pipe = pipeline.load(options.run)
    clip = pipe.generate(options.prompt, script=story, image=image, seed=options.seed)
    clip.save(options.out, scale=options.scale)
    print(f"{options.out}: {len(clip.video)} frames at {clip.fps:g} frames a second")


def _script(options: Script) -> None:
    from jaxvid import parallel

    parallel.start()
    from jaxvid import pipeline
    from jaxvid.io.media import atomic_write_text
    from jaxvid.script import to_json

    text = to_json(pipeline.load(options.run).plan(options.prompt, seed=options.seed))
    if options.out is None:
        print(text)
    else:
        atomic_write_text(options.out, text + "\n")
        print(f"{options.out}: edit it, then jaxvid generate --script {options.out}")


def parse_run(
    presets: Mapping[str, Callable[[], Any]], argv: Sequence[str] | None, *, prog: str, kind: str
) -> tuple[Any, pathlib.Path, bool]:
    """What a training script is asked for: the run, its folder, and whether to only describe it.

    ``--preset`` gives the defaults, every other option overrides one knob (``--optim.lr 2e-4``).
    The folder is ``<--run>/<kind>``; ``--run`` defaults to ``runs/<preset>``, or to
    ``runs/<name of the data>`` for own data.
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
        """Print the configuration, the parameters and the cost of a step, and stop."""
        config: Annotated[type(default), tyro.conf.arg(name="")] = default  # type: ignore[valid-type]

    parsed = tyro.cli(Options, args=arguments, prog=prog, description=presets[preset].__doc__)
    run = parsed.config
    if parsed.data is not None:
        run = dataclasses.replace(run, data=dataclasses.replace(run.data, source=parsed.data))
    folder = parsed.run
    if folder is None:
        source = run.data.source
        name = preset if source == "scenes" else pathlib.Path(source.partition(":")[2]).name
        folder = pathlib.Path("runs") / (name or "own")
    return run, folder / kind, parsed.dry_run


def _value(arguments: Sequence[str], option: str) -> str | None:
    for at, argument in enumerate(arguments):
        if argument == option and at + 1 < len(arguments):
            return arguments[at + 1]
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return None
