"""Laws of the grammar: what the automaton lets through is a valid script, and nothing is lost."""

import dataclasses

import numpy as np
import pytest

from jaxvid import grammar
from jaxvid.script import DIRECTIONS, MOTIONS, Actor, Shot, path
from jaxvid.typing import UserError


def random_tokens(rng: np.random.Generator) -> np.ndarray:
    """A walk through the automaton, all allowed tokens equally likely."""
    table, state, tokens = grammar.tables(), grammar.START, []
    for _ in range(grammar.LENGTH):
        tokens.append(int(rng.choice(np.flatnonzero(table.allowed[state]))))
        state = int(table.next_state[state, tokens[-1]])
    return np.array(tokens, np.int32)


@pytest.fixture(scope="module")
def sentences() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([random_tokens(rng) for _ in range(1500)])


def test_every_walk_decodes_to_a_valid_script_and_back(sentences):
    for tokens in sentences:
        script = grammar.decode(tokens)  # Script validates itself
        assert np.array_equal(grammar.encode(script), tokens)
        colors = [entity.color for entity in script.entities]
        assert len(set(colors)) == len(colors)


def test_direction_of_the_boxes_is_the_motion(sentences):
    for tokens in sentences:
        for actor in grammar.decode(tokens).scenes[0].shots[0].actors:
            a, b = (np.array(box[:2]) + box[2] / 2 for box in (actor.start, actor.end))
            if actor.motion in DIRECTIONS:
                way = np.array(DIRECTIONS[actor.motion])
                distance = np.abs(b - a).max()
                assert distance >= grammar.AT_LEAST / grammar.GRID - 1e-6
                np.testing.assert_allclose(b - a, way * distance, atol=1e-5)
            elif actor.motion == "bounce":
                assert b[0] == pytest.approx(a[0]) and b[1] < a[1]
            elif actor.motion == "orbit":
                assert b[0] == pytest.approx(a[0]) and b[1] > a[1]
            else:
                np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_whole_path_stays_inside_the_frame(sentences):
    u_T = np.linspace(0, 1, 33)
    for tokens in sentences:
        for actor in grammar.decode(tokens).scenes[0].shots[0].actors:
            box_T4 = path(actor, u_T)
            assert (box_T4[:, :2] - box_T4[:, 2:] / 2).min() >= -1e-6
            assert (box_T4[:, :2] + box_T4[:, 2:] / 2).max() <= 1 + 1e-6


def test_every_state_goes_on_and_every_token_has_a_use():
    table = grammar.tables()
    assert table.allowed.any(axis=1).all()
    named = [
        not token.startswith("at:") for token in grammar.TOKENS
    ]  # the grid is wider than needed
    assert table.allowed.any(axis=0)[named].all()
    assert np.array_equal(table.allowed, table.next_state >= 0)
    states = {grammar.START}
    for _ in range(grammar.LENGTH):
        states = {int(s) for s in np.unique(table.next_state[sorted(states)]) if s >= 0}
    assert {int(table.next_state[s, grammar.PAD]) for s in states} == states  # only the end is left


def test_every_motion_and_size_can_be_said(sentences):
    seen = {
        (entity.size, actor.motion)
        for tokens in sentences
        for script in [grammar.decode(tokens)]
        for entity, actor in zip(script.entities, script.scenes[0].shots[0].actors, strict=True)
    }
    assert len(seen) == 3 * len(MOTIONS)


def test_depth_is_the_order_of_the_sentence(sentences):
    script = next(s for s in map(grammar.decode, sentences) if len(s.entities) == 2)
    first, second = script.scenes[0].shots[0].actors
    turned = dataclasses.replace(
        script,
        scenes=(
            dataclasses.replace(
                script.scenes[0],
                shots=(
                    Shot(16, (dataclasses.replace(second, z=5), dataclasses.replace(first, z=-1))),
                ),
            ),
        ),
    )
    assert np.array_equal(grammar.encode(turned), grammar.encode(script))


def test_frames_fps_and_size_are_the_callers():
    tokens = random_tokens(np.random.default_rng(1))
    script = grammar.decode(tokens, frames=9, fps=12.5, size=(48, 64))
    assert (script.frames, script.fps, script.size) == (9, 12.5, (48, 64))


def test_forbidden_tokens_are_named():
    tokens = random_tokens(np.random.default_rng(2))
    for position, value in ((0, 0), (3, int(tokens[2])), (5, 999), (1, -1)):
        broken = tokens.copy()
        broken[position] = value
        with pytest.raises(UserError, match=f"token {position} may not be"):
            grammar.decode(broken)
    with pytest.raises(UserError, match="shape"):
        grammar.decode(tokens[:-1])


def test_scripts_outside_the_grammar_are_refused():
    script = grammar.decode(random_tokens(np.random.default_rng(3)))
    scene = script.scenes[0]
    with pytest.raises(UserError, match="several shots"):
        grammar.encode(dataclasses.replace(script, scenes=(scene, scene)))
    actor = scene.shots[0].actors[0]
    shifted = (actor.start[0] + 0.002, *actor.start[1:])
    off_grid = Actor(actor.entity, actor.motion, shifted, actor.end)
    moved = dataclasses.replace(scene, shots=(Shot(16, (off_grid,)),))
    with pytest.raises(UserError, match="grid"):
        grammar.encode(dataclasses.replace(script, scenes=(moved,)))
