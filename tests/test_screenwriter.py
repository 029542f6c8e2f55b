"""Laws of the screenwriter: a seed is a script, words are whole, and a shared file reads alike."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from test_planner import weights

from jaxvid import config, grammar, screenwriter, training_planner
from jaxvid.io.weights import read_weights, write_weights
from jaxvid.lint import lint
from jaxvid.models.planner import Planner
from jaxvid.outline import ANY, Look, Outline, Part, Take, stated
from jaxvid.screenwriter import Doubt, Draft, Screenwriter, doubts, point, unsure
from jaxvid.script import Span, from_json, to_json
from jaxvid.staging import script_paths, stage
from jaxvid.typing import UserError

PLANNER = Planner(width=16, heads=2, byte_width=8, text_length=128)
PROMPTS = [
    "a red circle moves",
    "两颗蓝色的星形",
    "it bounces on a dark grid, then",
    "x",
    "圆 and 星 🌟",
    "the blue one goes up",
    "a",
]
CIRCLE = Outline((Look("circle", "red"),), (Take((Part(0, "right"),)),))


@pytest.fixture(scope="module")
def writer() -> Screenwriter:
    """Of an untrained planner: it reads nonsense, but always the same."""
    return Screenwriter(PLANNER, weights(PLANNER))


@pytest.fixture(scope="module")
def exported(tiny_run: pathlib.Path) -> pathlib.Path:
    return screenwriter.export(tiny_run, tiny_run / "planner.safetensors")


def test_a_seed_fills_only_what_the_prompt_leaves_open() -> None:
    params, left_open = weights(PLANNER), []
    unsaid = np.array([token.endswith(f":{ANY}") for token in grammar.TOKENS])
    bias = params["logits"]["bias"] + 3.0 * unsaid  # it leaves some slots open, not all
    writer = Screenwriter(PLANNER, {**params, "logits": {**params["logits"], "bias": bias}})
    for prompt in PROMPTS:
        one, again, *others = (writer.write(prompt, seed=seed) for seed in (3, 3, 4, 5, 6, 7, 8))
        assert one == again
        assert all((one.outline, one.spans) == (other.outline, other.spans) for other in others)
        parts = [part for take in one.outline.takes for part in take.parts]
        said = [dataclasses.astuple(x) for x in (*one.outline.looks, *parts)]
        left_open.append(any(ANY in values for values in said))
        assert any(other.script != one.script for other in others) or not left_open[-1]
        for draft in (one, *others):
            assert draft.script.prompt == prompt == draft.prompt
            entities = draft.script.entities
            for look, entity in zip(one.outline.looks, entities, strict=True):
                for slot in ("kind", "color", "size"):
                    assert getattr(look, slot) in (ANY, getattr(entity, slot))
    assert any(left_open)
    assert len({writer.write(prompt).outline for prompt in PROMPTS}) > 1


def test_a_planner_that_saw_no_pictures_is_shown_none(
    writer: Screenwriter, exported: pathlib.Path
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    blind = Screenwriter(PLANNER, weights(PLANNER), pictures=False)
    assert blind.write("x", image=picture) == writer.write("x")
    of_scenes = screenwriter.load(exported)  # trained on captions of scenes alone
    assert of_scenes.write("a star", image=picture) == of_scenes.write("a star")
    looks = [writer.write("x", image=p).logp for p in (picture, None)]
    assert looks[0] != looks[1]


def test_drafts_do_not_depend_on_those_beside_them(writer: Screenwriter) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3)).astype(np.uint8)
    images = [None, image, None, image[:, ::-1], None, None, image]
    many = Screenwriter(PLANNER, weights(PLANNER), batch=2).write_all(
        PROMPTS, images=images, seed=5
    )
    for prompt, image, draft in zip(PROMPTS, images, many, strict=True):
        one = writer.write(prompt, image=image, seed=5)
        assert draft.script == one.script and draft.outline == one.outline
        assert draft.logp == pytest.approx(one.logp, abs=1e-3)
    assert writer.write_all([]) == []


def test_temperature_draws_other_readings() -> None:
    hot = Screenwriter(PLANNER, weights(PLANNER), temperature=2.0, top_p=0.9)
    drafts = [hot.write("a red circle", seed=seed) for seed in (0, 0, 1, 2)]
    assert drafts[0] == drafts[1]
    assert len({draft.outline for draft in drafts}) == 3
    assert all(draft.logp < -1 for draft in drafts)


@pytest.mark.parametrize("seed", [-1, 2**31 + 4, 10**30])
def test_any_integer_is_a_seed(writer: Screenwriter, seed: int) -> None:
    assert writer.write("a star", seed=seed) == writer.write("a star", seed=seed % 2**31)


def test_spans_lie_in_the_prompt_and_name_slots(writer: Screenwriter) -> None:
    for seed, prompt in enumerate(PROMPTS):
        draft = writer.write(prompt, seed=seed)
        assert draft.spans and draft.script.spans
        paths = script_paths(draft.outline, draft.script)
        for span in draft.spans:
            assert 0 <= span.start < span.end <= len(prompt)
            assert span.slot in stated(draft.outline) or "/who/" in span.slot
        named = [(paths[s.slot], s.start, s.end) for s in draft.spans if s.slot in paths]
        assert named == [(s.slot, s.start, s.end) for s in draft.script.spans]
        assert not [finding for finding in lint(draft.script) if "span" in finding.path]
        assert from_json(to_json(draft.script)) == draft.script


def pointed(prompt: str, places: dict[int, float], outline: Outline = CIRCLE) -> dict[str, str]:
    """What each slot is said to be read from, where all point at these places of the prompt."""
    weights_SM = np.zeros((grammar.LENGTH, 32), np.float32)
    for place, weight in places.items():
        weights_SM[:, place] = weight
    spans = point(prompt, outline, weights_SM)
    return {span.slot: prompt[span.start : span.end] for span in spans}


@pytest.mark.parametrize(
    ("prompt", "places", "words"),
    [
        ("a red circle goes right", {0: 1.0}, "a"),
        ("a red circle goes right", {1: 1.0}, "red"),
        ("a red circle goes right", {2: 0.5, 3: 0.4, 4: 0.1}, "circle goes"),
        ("a red circle goes right", {2: 0.5, 3: 0.1, 4: 0.4}, "circle"),  # what is near counts
        ("red, blue", {0: 1.0}, "red"),  # no commas and blanks at the ends
        ("a counterclockwise turn", {1: 1.0}, "counterclockwise"),  # also of its first half
        ("a counterclockwise turn", {2: 1.0}, "counterclockwise"),
        ("red1, blue", {0: 1.0}, "red1"),
        ("一颗红色的圆形", {0: 1.0}, "一"),
        ("一颗红色的圆形", {1: 0.5, 2: 0.4}, "颗红"),
        ("一颗red圆", {2: 1.0}, "red"),
        ("🌟🌟", {0: 1.0}, "🌟"),
    ],
)
def test_spans_are_whole_words_and_whole_signs(prompt: str, places: dict, words: str) -> None:
    got = pointed(prompt, places)
    assert set(got.values()) == {words}
    assert got.keys() == {*stated(CIRCLE), "takes/0/who/0"}  # and nothing else has a span


def test_every_slot_has_its_own_span() -> None:
    prompt = "a red circle goes right"
    outline = dataclasses.replace(CIRCLE, looks=(Look("circle", "red", "small"),))
    weights_SM = np.zeros((grammar.LENGTH, 32), np.float32)
    at = {"looks/0/kind": 2, "looks/0/color": 1, "looks/0/size": 31, "takes/0/parts/0/motion": 4}
    for s, (_, _, path) in enumerate(grammar.spell(outline)):
        weights_SM[s, at.get(path, 3)] = 1
    got = {s.slot: prompt[s.start : s.end] for s in point(prompt, outline, weights_SM)}
    assert got == {  # what points behind the prompt points at nothing
        "takes/0/who/0": "goes",
        "looks/0/kind": "circle", "looks/0/color": "red", "takes/0/parts/0/motion": "right",
    }  # fmt: skip


def test_what_is_in_doubt_is_named_the_least_likely_first() -> None:
    takes = (Take((Part(0, "right"),)), Take((Part(0, "up"), Part(1))))
    outline = Outline((Look("circle", "red"), Look("star")), takes)
    p = {"looks/0/color": 0.5, "takes/1/parts/0/motion": 0.2, "looks/1/size": 0.89}
    p |= {"looks/0/kind": 0.91, "takes/0/parts/0/motion": 0.99}
    logp_S = np.zeros(grammar.LENGTH, np.float32)
    for s, (slot, value, path) in enumerate(grammar.spell(outline)):
        logp_S[s] = np.log(0.4 if (slot, value) == ("parts", "2") else p.get(path, 1.0))
    found = [(doubt.slot, doubt.value, round(doubt.p, 2)) for doubt in doubts(outline, logp_S)]
    assert found == [
        ("takes/1/parts/0/motion", "up", 0.2),
        ("takes/1/parts", "2", 0.4),
        ("looks/0/color", "red", 0.5),
        ("looks/1/size", "any", 0.89),
    ]


def test_doubts_are_told_with_the_words_and_the_place_in_the_script() -> None:
    prompt = "a red circle goes right"
    script = stage(CIRCLE, 0, frames=16, fps=8.0, size=(32, 32))
    spans = (Span("looks/0/color", 0, 5), Span("takes/0/parts/0/motion", 18, 23))
    found = (
        Doubt("looks/0/color", "red", 0.2),
        Doubt("takes/0/parts", "1", 0.3),
        Doubt("looks/0/size", "any", 0.4),
        Doubt("takes/0/parts/0/motion", "right", 0.5),
    )
    draft = Draft(prompt, CIRCLE, script, spans, -1.0, found)
    assert unsure(draft) == (
        'not sure of entities/0/color: red from "a red" (20%); takes/0/parts: 1 (30%); '
        "entities/0/size: not said (40%); say it otherwise, or edit the script"
    )
    assert unsure(dataclasses.replace(draft, doubts=())) is None


def test_no_word_is_cut() -> None:
    rng = np.random.default_rng(0)
    prompt = "first a tiny crimson star, then 两颗 blue ones — café 名 x1 🌟 drift off"
    for _ in range(100):
        weights_SM = rng.dirichlet(np.full(32, 0.2), grammar.LENGTH).astype(np.float32)
        for span in point(prompt, CIRCLE, weights_SM):
            assert 0 <= span.start < span.end <= len(prompt)
            for at in (span.start, span.end):
                around = prompt[max(at - 1, 0) : at + 1]
                assert len(around) < 2 or not (around.isascii() and around.isalnum())


def test_bad_prompts_are_refused(writer: Screenwriter) -> None:
    bad = {"": "empty", " \n": "empty", "x" * 129: "129 bytes", "圆" * 43: "129 bytes"}
    for prompt, says in bad.items():
        with pytest.raises(UserError, match=says) as caught:
            writer.write(prompt)
        assert "\n" not in str(caught.value)
    assert writer.write("x" * 128).prompt == "x" * 128
    with pytest.raises(UserError, match="49 words and 48 are read; shorten it"):
        writer.write("a " * 49)
    assert writer.write("a " * 48).prompt == "a " * 47 + "a"
    with pytest.raises(UserError, match="empty"):
        writer.write_all(["a red circle", "\u200b"])


def test_what_is_no_text_is_read_as_a_question_mark(writer: Screenwriter) -> None:
    draft = writer.write("a red \udcff circle")  # as a terminal gives bytes that are not UTF-8
    assert draft.prompt == "a red ? circle"
    assert to_json(draft.script).encode("utf-8")


@pytest.mark.parametrize("shape", [(1, 1), (32, 32), (64, 64), (50, 200), (301, 7)])
def test_pictures_of_any_size_are_looked_at(writer: Screenwriter, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(1, 256, (*shape, 3)).astype(np.uint8)
    # Not by ``write``: an untrained planner may read several shots, but one beside the picture.
    (seen,), (black,), (without,) = (
        writer.write_all(["a star"], images=[picture]) for picture in (image, 0 * image, None)
    )
    assert seen.logp != pytest.approx(without.logp, abs=1e-4)
    assert black.outline == without.outline
    assert black.logp == pytest.approx(without.logp, abs=1e-4)


def test_the_shape_of_the_film_is_passed_on(writer: Screenwriter) -> None:
    script = writer.write("a star", frames=5, fps=12.0, size=(48, 64)).script
    assert (script.fps, script.size) == (12.0, (48, 64))
    assert {shot.frames for scene in script.scenes for shot in scene.shots} == {5}


def test_an_exported_file_reads_as_its_run(tiny_run: pathlib.Path, exported: pathlib.Path) -> None:
    planner, state, run = training_planner.load_planner(tiny_run / "planner")
    params, written = read_weights(exported)
    assert config.from_json(config.PlannerRun, written) == run
    for a, b in zip(*map(jax.tree.leaves, (params, state.ema)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7)
    half = jax.tree.map(lambda p: np.asarray(p, np.float16).astype(np.float32), state.ema)
    images = [None, np.full((9, 9, 3), 200, np.uint8), None, None, None]
    wanted = Screenwriter(planner, half, pictures=False).write_all(PROMPTS, images=images, seed=1)
    assert screenwriter.load(exported).write_all(PROMPTS, images=images, seed=1) == wanted
    whole = screenwriter.load(tiny_run).write(PROMPTS[0])
    assert whole.logp == pytest.approx(wanted[0].logp, abs=0.1)


def test_what_is_no_planner_is_refused(tmp_path: pathlib.Path, exported: pathlib.Path) -> None:
    def refusal(run: pathlib.Path) -> str:
        with pytest.raises(UserError) as caught:
            screenwriter.load(run)
        assert "\n" not in str(caught.value) and str(run) in str(caught.value)
        return str(caught.value)

    assert "train one" in refusal(tmp_path)
    assert "cannot read" in refusal(tmp_path / "none.safetensors")
    params, written = read_weights(exported)
    path = tmp_path / "other.safetensors"
    for text, says in (
        ("{", "config"),
        ('{"planner": {"width": 1.5}}', "width"),
        (written.replace('"width": 16', '"width": 32'), "has shape"),
        (written.replace('"decoder_layers": 1', '"decoder_layers": 2'), "has shape None"),
    ):
        write_weights(path, params, config=text)
        assert says in refusal(path)
    with pytest.raises(UserError, match="train one"):
        screenwriter.export(tmp_path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_shared_weights_name_no_path_of_the_machine(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    path = run / "planner" / "config.json"
    values = json.loads(path.read_text("utf-8")) | {"base": "/home/somebody/base.safetensors"}
    path.write_text(json.dumps(values), "utf-8")
    out = screenwriter.export(run, tmp_path / "out.safetensors")
    assert b"somebody" not in out.read_bytes()
    assert config.from_json(config.PlannerRun, read_weights(out)[1]).base == ""


def test_exported_planners_are_averaged(exported: pathlib.Path, tmp_path: pathlib.Path) -> None:
    params, written = read_weights(exported)
    other = write_weights(tmp_path / "other", jax.tree.map(lambda p: 3 * p, params), config=written)
    mean, config_ = read_weights(screenwriter.average([exported, other], tmp_path / "mean"))
    assert config_ == written
    for a, b in zip(*map(jax.tree.leaves, (mean, params)), strict=True):
        np.testing.assert_allclose(a, 2 * b, rtol=2e-3, atol=1e-6)
    with pytest.raises(UserError, match="of another network"):
        screenwriter.average([exported, training_planner.SHIPPED], tmp_path / "mean")
    with pytest.raises(UserError, match="no weights"):
        screenwriter.average([], tmp_path / "mean")
