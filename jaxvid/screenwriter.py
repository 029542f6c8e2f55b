"""The screenwriter: a trained planner, ready to be asked. Prompt, and picture, in; script out."""

import dataclasses
import functools
import logging
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxvid import config as configs
from jaxvid import grammar, training_planner
from jaxvid.data import tokenizer
from jaxvid.data.transforms import check_picture, fit
from jaxvid.io.weights import write_weights
from jaxvid.models.planner import Planner, sample
from jaxvid.models.prompt import PICTURE
from jaxvid.ops.words import most_words, word_starts
from jaxvid.outline import DEFAULTS, Outline, stated
from jaxvid.parallel import compile_function
from jaxvid.reinforce_planner import load_planner_rl
from jaxvid.script import Script, Span
from jaxvid.staging import script_paths, stage
from jaxvid.typing import Params, UserError

logger = logging.getLogger("jaxvid")
WORD = re.compile(r"[a-zA-Z0-9]+|\w")
FAINT = 0.35  # of the greatest weight: places beside it that belong to a span
# A slot read with less probability is in doubt: so are some in 4 % of held-out English prompts, of
# which a fifth are misread, and in four of five misread ones (1,000 prompts, 2026-11-29).
DOUBT = 0.9


@dataclasses.dataclass(frozen=True)
class Doubt:
    """A slot of the outline that may well mean something else; ``p``: the probability of ``value``,
    given what was read before it. A slot at its default was not said."""

    slot: str
    value: str
    p: float


@dataclasses.dataclass(frozen=True)
class Draft:
    """What was read out of a prompt: ``spans`` name slots of the outline, ``script`` is staged."""

    prompt: str
    outline: Outline
    script: Script
    spans: tuple[Span, ...]
    logp: float  # of the outline under the sampling distribution
    doubts: tuple[Doubt, ...]  # the least likely first


class Screenwriter:
    """Reads prompts with a planner, stages what it read. See ``load``."""

    def __init__(
        self,
        planner: Planner,
        params: Params,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        batch: int = 1,
        pictures: bool = True,
    ) -> None:
        """``temperature`` 0 takes the likeliest reading; ``batch`` prompts are read at once.

        ``pictures`` False: the planner never saw one in training, so none is shown to it.
        """
        self._params, self.length, self._batch = params, planner.text_length, batch
        self._pictures = pictures
        self._read = compile_function(
            functools.partial(sample, planner, temperature=temperature, top_p=top_p)
        )

    def write(
        self,
        prompt: str,
        *,
        image: np.ndarray | None = None,
        seed: int = 0,
        frames: int = 16,
        fps: float = 8.0,
        size: tuple[int, int] = (32, 32),
    ) -> Draft:
        """One prompt's draft; ``seed`` fills what it leaves open. ``frames`` are those of a shot.

        ``image`` (H,W,3) uint8, cut to a square, gives looks and places, to a planner that was
        trained on pictures, each with a prompt of one shot. Raises UserError for an empty or too
        long prompt, and for one whose later shots are not read beside the picture.
        """
        given: dict[str, Any] = {"seed": seed, "frames": frames, "fps": fps, "size": size}
        images = None if image is None else [image]
        (draft,) = self.write_all([prompt], images=images, **given)
        if image is not None and self._pictures:
            (alone,) = self.write_all([prompt], **given)
            if (told := len(alone.outline.takes)) > len(draft.outline.takes):
                raise UserError(
                    f"the prompt tells of {told} shots, and beside a picture it is read as one; "
                    "leave out the later ones or the picture"
                )
        return draft

    def write_all(
        self,
        prompts: Sequence[str],
        *,
        images: Sequence[np.ndarray | None] | None = None,
        seed: int = 0,
        frames: int = 16,
        fps: float = 8.0,
        size: tuple[int, int] = (32, 32),
    ) -> list[Draft]:
        """Drafts of many prompts; each depends on its own prompt, picture and seed alone when read
        greedily."""
        prompts = [tokenizer.check_prompt(prompt, self.length) for prompt in prompts]
        most = most_words(self.length)
        if (count := max((_word_of(p)[-1] + 1 for p in prompts), default=0)) > most:
            raise UserError(f"the prompt has {count} words and {most} are read; shorten it")
        seed %= 2**31  # any integer is one
        if images is not None and not self._pictures:
            logger.info("this planner reads no pictures; the one that comes with jaxvid does")
            images = None
        drafts: list[Draft] = []
        for start in range(0, len(prompts), self._batch):
            part = prompts[start : start + self._batch]
            text = np.zeros((self._batch, self.length), np.int32)
            seen = [None] * len(part) if images is None else images[start : start + self._batch]
            side = 0 if all(picture is None for picture in seen) else PICTURE
            image = np.zeros((self._batch, side, side, 3), np.uint8)
            for n, (prompt, picture) in enumerate(zip(part, seen, strict=True)):
                text[n] = tokenizer.encode(prompt, self.length)
                if picture is not None:
                    image[n] = fit(check_picture(picture)[None], PICTURE)[0]
            key = jax.random.fold_in(jax.random.key(seed), start)
            read = jax.device_get(self._read(self._params, text, image, key))
            for n, prompt in enumerate(part):
                outline = grammar.decode(read.tokens_BS[n])
                script = stage(outline, seed, frames=frames, fps=fps, size=size)
                spans = point(prompt, outline, read.weights_BSM[n])
                said = script_paths(outline, script)
                named = [dataclasses.replace(s, slot=said[s.slot]) for s in spans if s.slot in said]
                script = dataclasses.replace(script, prompt=prompt, spans=tuple(named))
                logp_S = read.logp_BS[n]
                logp, found = float(logp_S.sum()), doubts(outline, logp_S)
                drafts.append(Draft(prompt, outline, script, spans, logp, found))
        return drafts


def _word_of(prompt: str) -> np.ndarray:
    """Which word (``ops.words``) each character of the prompt is of."""
    ids_1L = tokenizer.encode(prompt, len(prompt.encode()))[None]
    at = np.cumsum([0, *(len(char.encode()) for char in prompt)])[:-1]
    return np.cumsum(word_starts(ids_1L)[0])[at] - 1


def point(prompt: str, outline: Outline, weights_SM: np.ndarray) -> tuple[Span, ...]:
    """For each slot that the outline states, the characters of the prompt it was read from.

    And for each look in a take the words that name it there, as the slot "takes/1/who/0".
    The word of greatest weight (``ops.words``) and its neighbours of similar weight, without the
    signs at their ends.
    """
    word = _word_of(prompt)
    said = stated(outline)
    spans = []
    for s, (slot, _, path) in enumerate(grammar.spell(outline)):
        if path not in said and slot != "who":
            continue
        weights_M = weights_SM[s]
        first = last = int(weights_M.argmax())
        while first > 0 and weights_M[first - 1] > FAINT * weights_M.max():
            first -= 1
        while last + 1 < len(weights_M) and weights_M[last + 1] > FAINT * weights_M.max():
            last += 1
        inside = np.flatnonzero((word >= first) & (word <= last))
        if len(inside):
            spans.append(_words(prompt, path, int(inside[0]), int(inside[-1]) + 1))
    return tuple(spans)


def doubts(outline: Outline, logp_S: np.ndarray) -> tuple[Doubt, ...]:
    """The slots of the outline whose values have a probability below ``DOUBT``; ``logp`` of each
    token. Of how many take part in a take, the slot is "takes/0/parts"."""
    found, take = [], -1
    for (slot, value, path), p in zip(grammar.spell(outline), np.exp(logp_S), strict=False):
        take += slot == grammar.HEAD[0]
        if p < DOUBT:
            found.append(Doubt(path or f"takes/{take}/{slot}", value, float(p)))
    return tuple(sorted(found, key=lambda doubt: doubt.p))


def unsure(draft: Draft, most: int = 3) -> str | None:
    """What to tell people of the greatest doubts, by their places in the script where they have
    one; None without any."""
    paths, shown = script_paths(draft.outline, draft.script), []
    for doubt in draft.doubts[:most]:
        words = [draft.prompt[s.start : s.end] for s in draft.spans if s.slot == doubt.slot]
        default = DEFAULTS.get(doubt.slot.rpartition("/")[2])
        value = "not said" if doubt.value == default else doubt.value
        source = f' from "{words[0]}"' if words else ""
        shown.append(f"{paths.get(doubt.slot, doubt.slot)}: {value}{source} ({doubt.p:.0%})")
    told = "; ".join(shown)
    return f"not sure of {told}; say it otherwise, or edit the script" if told else None


def _words(prompt: str, path: str, start: int, end: int) -> Span:
    """The span widened to whole words of letters, without space and punctuation at its ends."""
    found = [m.span() for m in WORD.finditer(prompt) if m.start() < end and m.end() > start]
    return Span(path, found[0][0], found[-1][1]) if found else Span(path, start, start + 1)


def load(run: str | pathlib.Path | None = None, *, batch: int = 1) -> Screenwriter:
    """The screenwriter of a run folder, whose planner is in ``planner/``, of a tuned one
    (``RUN/rl_planner``), or of a file of exported weights; None: the one that comes with jaxvid.

    Raises UserError where there is none.
    """
    path = training_planner.base_path("shipped" if run is None else str(run))
    if path.suffix == ".safetensors":
        planner, params, planner_run = training_planner.read_planner(path)
    elif (path / "planner.json").is_file():
        planner, params, planner_run = load_planner_rl(path)
    else:
        planner, state, planner_run = training_planner.load_planner(path / "planner")
        params = state.ema
    pictures = planner_run.data.source == "stories"
    return Screenwriter(planner, params, batch=batch, pictures=pictures)


def export(run: str | pathlib.Path, out: str | pathlib.Path) -> pathlib.Path:
    """Writes the planner of a run folder as one file of weights, which ``load`` reads.

    Raises UserError where there is no planner, or the file cannot be written.
    """
    path = pathlib.Path(run)
    if (path / "planner.json").is_file():
        _, params, planner_run = load_planner_rl(path)
    else:
        _, state, planner_run = training_planner.load_planner(path / "planner")
        params = state.ema
    shared = dataclasses.replace(planner_run, base="")  # a path of this machine alone
    return write_weights(out, jax.device_get(params), config=configs.to_json(shared))


def average(weights: Sequence[str | pathlib.Path], out: str | pathlib.Path) -> pathlib.Path:
    """Writes the mean of exported planners as one, which reads better than each where they are of
    one training that went on (a model soup: Wortsman et al., 2022, arXiv 2203.05482).

    Raises UserError where they differ in shape, or a file cannot be read or written.
    """
    if not weights:
        raise UserError("no weights to average; name files that jaxvid export wrote")
    read = [training_planner.read_planner(pathlib.Path(path)) for path in weights]
    for path, (planner, _, _) in zip(weights, read, strict=True):
        if planner != read[0][0]:
            raise UserError(f"{path} is of another network than {weights[0]}; average alike ones")
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *(params for _, params, _ in read))
    return write_weights(out, mean, config=configs.to_json(read[0][2]))
