"""Laws of the planner: it cannot look ahead, cannot write nonsense, and means what it samples."""

import dataclasses
import functools
import multiprocessing
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvid import grammar, training_planner
from jaxvid.config import (
    DataConfig,
    OptimConfig,
    PlannerConfig,
    PlannerRun,
    PrecisionConfig,
    TrainConfig,
)
from jaxvid.data import tokenizer
from jaxvid.data.prompts import Example, PromptSource, collate
from jaxvid.io.checkpoint import tree_digest
from jaxvid.lint import lint
from jaxvid.losses.tokens import exact, log_probs
from jaxvid.models.planner import Planner, sample
from jaxvid.models.prompt import GRIDS, PICTURE, EncoderLayer, Picture, PromptEncoder
from jaxvid.ops.automaton import states
from jaxvid.ops.words import most_words, word_starts, words
from jaxvid.optim import make_optimizer
from jaxvid.parallel import compile_step, make_mesh, place_batch, replicate
from jaxvid.staging import stage
from jaxvid.state import init_planner
from jaxvid.steps.planner import STORIES, fitting, make_planner_step, usual_counts
from jaxvid.typing import UserError

B, S, L = 16, grammar.SHORT, 160
M = most_words(L)  # places of the text
MODEL = Planner(width=32, decoder_layers=2, heads=4, byte_width=16, text_length=256)
SMALL = Planner(width=16, heads=2, byte_width=8, text_length=256)
SOURCE = PromptSource("train", seed=1)
SEEN = np.arange(B) % 2 == 1  # which have a picture
apply = jax.jit(MODEL.apply)
read = jax.jit(functools.partial(MODEL.apply, method="read"))


def examples() -> list[Example]:
    return [SOURCE.example(i, "pictured" if seen else "short") for i, seen in enumerate(SEEN)]


@functools.cache
def drawer(temperature: float = 1.0, top_p: float = 1.0, model: Planner = MODEL):
    """Compiled sampling; the tests share it."""

    def draw(params, text, image, key):
        return sample(model, params, text, image, key, temperature=temperature, top_p=top_p)

    return jax.jit(draw)


@pytest.fixture(scope="module")
def batch() -> dict[str, jax.Array]:
    """Sixteen prompts of one take, every second beside a picture."""
    host = collate(examples(), text_length=L, tokens=S)
    assert (host["image"].any((1, 2, 3)) == SEEN).all()
    return {name: jnp.asarray(value) for name, value in host.items()}


def weights(model: Planner) -> dict:
    """Random ones, larger than at the start, and biases: every path matters. Nothing compiles."""
    text, tokens = (jnp.zeros((1, n), jnp.int32) for n in (model.text_length, S))
    image = jnp.zeros((1, PICTURE, PICTURE, 3), jnp.uint8)
    like = jax.eval_shape(model.init, jax.random.key(0), text, image, tokens)
    rng = np.random.default_rng(0)

    def draw(leaf):
        scale = 1.5 / np.sqrt(leaf.size / leaf.shape[-1]) if leaf.ndim > 1 else 0.3
        return jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(draw, like["params"])


@pytest.fixture(scope="module")
def params() -> dict:
    return weights(MODEL)


@pytest.fixture(scope="module")
def written(batch, params) -> tuple[jax.Array, jax.Array, jax.Array]:
    return apply({"params": params}, batch["text"], batch["image"], batch["tokens"])


def test_shapes(batch, written):
    logits, scores, refers = written
    assert logits.shape == (B, S, grammar.VOCABULARY) and logits.dtype == jnp.float32
    assert scores.shape == (B, S, M + GRIDS * GRIDS) and scores.dtype == jnp.float32
    assert bool(jnp.isfinite(logits).all())


def test_a_word_refers_to_other_words_of_its_prompt(batch, written):
    """The first head to any, the second to those before it."""
    refers, real = np.asarray(written[2]), np.asarray(word_starts(batch["text"])).sum(1)
    assert refers.shape == (B, 2, M, M)
    at = np.arange(M)
    for b in range(B):
        ways = np.stack([at[:, None] != at, at[:, None] > at]) & (at < real[b])
        assert (refers[b][ways] > -1e3).all() and (refers[b][~ways] < -1e29).all()


def test_the_pointers_are_distributions_over_the_text_and_over_the_picture(batch, written):
    scores = written[1][..., :M], written[1][..., M:]
    weights, seen = (np.asarray(jax.nn.softmax(x)) for x in scores)
    np.testing.assert_allclose(seen.sum(-1), 1, atol=1e-5)
    assert (seen.std(-1)[SEEN] > 0).all()  # where there is one, else they mean nothing
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    there = np.asarray(words(batch["text"])).any(-1)
    assert (weights[np.broadcast_to(~there[:, None], weights.shape)] == 0).all()
    assert (weights[np.broadcast_to(there[:, None], weights.shape)] > 0).all()


def test_a_shouted_prompt_is_read_as_a_spoken_one(params):
    """Every letter, and no other byte: the signs beside them, digits and Chinese stay apart."""
    said = "the quick brown fox jumps over a lazy dog @[ 08 红色的星形 É"
    other = [said.replace(*pair) for pair in ("@`", "[{", "08", "红蓝")]
    texts = [said, said.upper(), *other]
    text = jnp.asarray(np.stack([tokenizer.encode(t, L) for t in texts]))
    image = jnp.zeros((len(texts), 0, 0, 3), jnp.uint8)
    spoken, shouted, *others = read({"params": params}, text, image).text.keys_BMD
    np.testing.assert_array_equal(spoken, shouted)
    assert all(np.abs(spoken - other).max() > 0.01 for other in others)


def test_cached_decoding_equals_teacher_forcing(params):
    host = SOURCE.batch(range(4), "long")
    text, image, tokens = (jnp.asarray(host[name]) for name in ("text", "image", "tokens"))
    variables = {"params": params}
    wanted = apply(variables, text, image, tokens)
    prompt = read(variables, text, image)
    cache = MODEL.apply(variables, 4, grammar.LENGTH, method="empty_cache")
    write = jax.jit(lambda *args: MODEL.apply(variables, *args, method="write"))
    before, state = np.zeros((4, 1), np.int32), np.asarray(states(tokens))
    for s in range(grammar.LENGTH):
        *got, cache = write(before, state[:, s : s + 1], jnp.int32(s), cache, prompt)
        np.testing.assert_allclose(got[0][:, 0], wanted[0][:, s], atol=1e-5)
        np.testing.assert_allclose(got[1][:, 0], wanted[1][:, s], atol=1e-4)
        before = host["tokens"][:, s : s + 1]


def test_the_future_and_the_token_itself_have_no_gradient(batch, params):
    """d of logits[s], and of scores[s], by the input at t is zero exactly where t > s."""
    variables = {"params": params}
    prompt = read(variables, batch["text"][:1], batch["image"][:1])
    embed = params["embed"]["embedding"]
    before_S = jnp.pad(batch["tokens"][0], (1, 0))[:-1]

    def energies(shift_S):
        # Position t reads row t of a table of its own, moved by hand: integers have no gradient.
        table = jnp.zeros_like(embed).at[:S].set(embed[before_S] + shift_S[:, None])
        own = {"params": {**params, "embed": {"embedding": table}}}
        cache = MODEL.apply(own, 1, S, method="empty_cache")
        rows, state = jnp.arange(S)[None], states(batch["tokens"][:1])
        logits, scores, _ = MODEL.apply(
            own, rows, state, jnp.int32(0), cache, prompt, method="write"
        )
        return (logits[0] ** 2).sum(-1), jnp.exp(2 * scores[0]).sum(-1)

    future = np.triu(np.ones((S, S), bool), 1)
    # Row s: gradient by the input at position t, which is the token t - 1.
    for rows in jax.jit(jax.jacrev(energies))(jnp.zeros(S)):
        assert (np.asarray(rows)[future] == 0).all()
        assert (np.asarray(rows)[~future] != 0).all()


def test_later_tokens_change_nothing_before_them(batch, params, written):
    cut = batch["tokens"].at[:, 9:].set(grammar.PAD)
    again = apply({"params": params}, batch["text"], batch["image"], cut)
    for got, wanted in zip(again, written, strict=True):
        np.testing.assert_array_equal(got[:, :10], wanted[:, :10])


def test_the_padding_of_the_prompt_does_not_matter(batch, params, written):
    long = collate(examples(), text_length=256, tokens=S)
    assert long["text"].shape == (B, 256)
    logits, scores, refers = apply({"params": params}, long["text"], long["image"], long["tokens"])
    np.testing.assert_allclose(refers[..., :M, :M], written[2], atol=1e-4)
    np.testing.assert_allclose(logits, written[0], atol=1e-5)
    text, none, seen = np.split(scores, [M, most_words(256)], axis=-1)
    asked = np.split(written[1], [M], axis=-1)
    np.testing.assert_allclose(text, asked[0], atol=1e-4)
    np.testing.assert_allclose(seen, asked[1], atol=1e-4)
    assert (none < -1e29).all()


def test_words_know_how_far_apart_they_are_and_not_where():
    """A layer of the encoder: shifted words read the same, words drawn apart do not."""
    layer, rng = EncoderLayer(32, 4), np.random.default_rng(0)
    x_D = rng.normal(size=(4, 32))
    way = jnp.ones((4, 12, 12), bool)
    params, out = None, []
    for at in ([0, 1, 2, 3], [5, 6, 7, 8], [0, 1, 2, 7]):
        x, mask = np.zeros((1, 12, 32), np.float32), np.zeros((1, 12), bool)
        x[0, at], mask[0, at] = x_D, True
        args = jnp.asarray(x), None, jnp.asarray(mask), way, jnp.arange(12.0)
        params = params or layer.init(jax.random.key(0), *args)
        out.append(np.asarray(layer.apply(params, *args))[0, at])
    np.testing.assert_allclose(out[1], out[0], atol=1e-5)
    assert np.abs(out[2] - out[0]).max() > 0.01


def test_the_encoder_tells_words_apart_by_their_places():
    """Without learnt places and phrases too: the first word sees how far away the others are."""
    encoder = PromptEncoder(32, 1, 4, 8, 128)
    nothing = jnp.zeros((2, 0, 0, 3), jnp.uint8)
    texts = ["red a b c d e f g h blue i", "red a b c blue d e f g h i"]  # the same words
    text = jnp.asarray(np.stack([tokenizer.encode(text, 128) for text in texts]))
    params = encoder.init(jax.random.key(0), text, nothing)["params"]
    params |= jax.tree.map(jnp.zeros_like, {name: params[name] for name in ("place", "phrase")})
    x_BMD, rows, *_ = encoder.apply({"params": params}, text, nothing)
    assert rows is None and float(jnp.abs(x_BMD[0, 0] - x_BMD[1, 0]).max()) > 1e-3


def test_pictures_are_read_where_there_are_some(batch, params, written):
    """What the eyes see is read if and only if the picture is not black everywhere."""
    other_eyes = jax.tree.map(lambda p: 0.5 - p, params["encoder"]["picture"])
    other = {**params, "encoder": {**params["encoder"], "picture": other_eyes}}
    args = batch["text"], batch["image"], batch["tokens"]
    for got, wanted in zip(apply({"params": other}, *args)[:2], written[:2], strict=True):
        changed = np.abs(np.asarray(got) - np.asarray(wanted)).max((1, 2))
        np.testing.assert_array_equal(changed > 0, SEEN)
        assert changed[SEEN].min() > 1e-3


def test_a_batch_without_pictures_has_no_pixels(batch, params, written):
    image = jnp.zeros((B, 0, 0, 3), jnp.uint8)
    without = apply({"params": params}, batch["text"], image, batch["tokens"])
    assert without[1].shape[-1] == M  # no place of a picture to point at
    for got, wanted in zip(without[:2], (written[0], written[1][..., :M]), strict=True):
        np.testing.assert_allclose(got[~SEEN], wanted[~SEEN], atol=1e-5)
        assert np.abs(np.asarray(got - wanted)[SEEN]).max((1, 2)).min() > 1e-3


def test_another_picture_gives_other_logits(batch, params, written):
    image = np.asarray(batch["image"])
    faint = np.zeros_like(image)
    faint[:, 0, 0, 0] = 1  # all but black is a picture
    for other in (image[:, :, ::-1], faint):
        got = apply({"params": params}, batch["text"], other, batch["tokens"])[0]
        differs = (image != other).any((1, 2, 3))
        changed = np.abs(np.asarray(got) - np.asarray(written[0])).max((1, 2))
        np.testing.assert_array_equal(changed > 1e-4, differs)


def test_a_look_that_comes_again_is_found_by_its_words(params):
    """Against the formula: over the slots that described a look, of what is said before."""
    rng = np.random.default_rng(3)
    kind, color, size, who, motion = map(grammar.SLOTS.index, (*grammar.LOOK, "who", "motion"))
    slots = [who, kind, color, size, motion, who, kind, color, size, who]
    looks = [0, 1, 1, 1, 1, 1, 2, 2, 2, 2]
    place = np.zeros((1, len(slots), 4), np.int32)
    place[0, :, 0], place[0, :, 3] = slots, looks
    said = rng.normal(size=(1, len(slots), MODEL.width)).astype(np.float32)
    said[0, 9] = said[0, 6]  # the last word but one look's kind, the second's
    met = MODEL.apply({"params": params}, 1, 12, method="empty_cache")[-1]
    asked = jnp.asarray(said), jnp.asarray(place), met, jnp.int32(0)
    found, _ = MODEL.apply({"params": params}, *asked, method="meet")
    word = said[0] @ np.asarray(params["mention"]["kernel"])
    word /= np.sqrt((word**2).mean(-1, keepdims=True) + 1e-6)
    scale = float(params["alike"]) / np.sqrt(MODEL.width)
    for at in range(len(slots)):
        for look, where in enumerate(((1, 2, 3), (6, 7, 8))):
            want = scale * sum(word[at] @ word[s] for s in where if s <= at)
            np.testing.assert_allclose(found[0, at, look], want, rtol=1e-4, atol=1e-4)
    at_first = {**params, "alike": jnp.float32(0.3)}  # an untrained one finds it, too
    first, _ = MODEL.apply({"params": at_first}, *asked, method="meet")
    assert first[0, 9].argmax() == 1


def test_a_place_of_the_picture_knows_the_colours_of_its_own_pixels(params):
    """Beside the convolutions, which see farther."""
    side = PICTURE // GRIDS
    model, own = Picture(MODEL.width), params["encoder"]["picture"]
    kernel = own["out"]["kernel"].at[: MODEL.width].set(0.0)
    own = {**own, "out": {**own["out"], "kernel": kernel}}
    image = np.full((1, PICTURE, PICTURE, 3), 90, np.uint8)
    painted = image.copy()
    painted[0, side : 2 * side, 2 * side : 3 * side] = (200, 30, 60)
    look = functools.partial(model.apply, {"params": own})
    plain, other = (np.asarray(look(jnp.asarray(x))[0][0]) for x in (image, painted))
    changed = np.abs(plain - other).max(-1) > 1e-3
    np.testing.assert_array_equal(np.flatnonzero(changed), [GRIDS + 2])


def test_random_weights_write_valid_outlines_only():
    """2,000 outlines of an untrained planner at temperature 2; the first of them are staged too."""
    text = jnp.asarray(PromptSource("test").batch(range(500))["text"][:, :32])
    image = jnp.zeros((500, 0, 0, 3), jnp.uint8)
    draw = functools.partial(drawer(2.0, model=SMALL), weights(SMALL), text, image)
    keys = jax.random.split(jax.random.key(3), 4)
    tokens = np.concatenate([draw(key).tokens_BS for key in keys])
    outlines = [grammar.decode(row) for row in tokens]  # UserError if not valid
    assert len(set(outlines)) > 1990
    assert {len(outline.takes) for outline in outlines} == {1, 2, 3}
    found = [lint(stage(outline, seed)) for seed, outline in enumerate(outlines[:60])]
    assert not any(found), [*filter(None, found)]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (2.0, 0.9), (0.7, 0.6), (0.0, 1.0)])
def test_sampled_log_probs_are_those_of_training(batch, params, temperature, top_p):
    text, image = batch["text"], batch["image"]
    drawn = drawer(temperature, top_p)(params, text, image, jax.random.key(3))
    assert drawn.tokens_BS.shape == drawn.logp_BS.shape == (B, grammar.LENGTH)
    logits, scores, _ = apply({"params": params}, text, image, drawn.tokens_BS)
    again = log_probs(logits, drawn.tokens_BS, temperature=temperature or 1.0, top_p=top_p)
    np.testing.assert_allclose(again, drawn.logp_BS, atol=1e-5)
    assert np.asarray(drawn.logp_BS).min() > -50
    text_BSM = jax.nn.softmax(scores[..., : drawn.weights_BSM.shape[-1]])
    np.testing.assert_allclose(text_BSM, drawn.weights_BSM, atol=1e-5)


def test_an_example_is_drawn_alike_in_any_batch(batch, params):
    draw = drawer()
    tokens = draw(params, batch["text"], batch["image"], jax.random.key(3)).tokens_BS
    few = [draw(params, batch["text"][:3], batch["image"][:3], jax.random.key(k)) for k in (3, 4)]
    assert np.array_equal(few[0].tokens_BS, tokens[:3])
    assert not np.array_equal(few[1].tokens_BS, tokens[:3])
    twins = jnp.tile(batch["text"][:1], (B, 1)), jnp.tile(batch["image"][:1], (B, 1, 1, 1))
    rows = np.asarray(draw(params, *twins, jax.random.key(3)).tokens_BS)
    assert len(np.unique(rows, axis=0)) == B  # nor do places share their noise


def test_temperature_0_and_the_smallest_nucleus_take_the_likeliest_tokens(batch, params):
    text, image = batch["text"], batch["image"]
    tokens = drawer(0.0)(params, text, image, jax.random.key(0)).tokens_BS
    for draw, key in ((drawer(0.0), 1), (drawer(1.0, 1e-6), 1)):
        again = draw(params, text, image, jax.random.key(key)).tokens_BS
        np.testing.assert_array_equal(again, tokens)
    logits, *_ = apply({"params": params}, text, image, tokens)
    assert (np.asarray(exact(logits, tokens)) == 1).all()


def test_one_batch_is_learnt_by_heart():
    """With one compilation; then what is written greedily is what the prompts say."""
    model = Planner(width=32, heads=4, byte_width=16, text_length=L)
    batch = SOURCE.batch(range(B))
    args = batch["text"], batch["image"], batch["tokens"]
    params = jax.jit(model.init)(jax.random.key(0), *args)["params"]
    tx = make_optimizer(OptimConfig(lr=1e-2, warmup=10), 100)
    step = jax.jit(make_planner_step(model, tx))
    state, key, history = init_planner(params, tx), jax.random.key(0), []
    for _ in range(100):
        state, metrics = step(state, batch, key)
        history.append({name: float(value) for name, value in metrics.items()})
    assert step._cache_size() == 1 and int(state.step) == 100
    first, last = history[0], history[-1]
    assert first.keys() == {"loss", "tokens", "pointing", "exact", "gradient", "skipped"}
    assert first["loss"] == pytest.approx(first["tokens"] + 0.3 * first["pointing"], rel=1e-5)
    assert first["tokens"] > 1 and first["pointing"] > 1 and first["exact"] == 0
    assert last["tokens"] < 0.05 and last["pointing"] < 0.3 and last["exact"] > 0.9
    tokens = np.asarray(drawer(0.0, model=model)(state.params, *args[:2], key).tokens_BS)
    assert (tokens[:, :S] == batch["tokens"]).all(1).sum() >= B - 2


def test_gradients_are_finite_and_examples_do_not_see_each_other(batch):
    """A step of plain descent by a batch is the mean of the steps by its halves."""
    tx, small = optax.sgd(1.0), weights(SMALL)
    step = jax.jit(make_planner_step(SMALL, tx))

    def grads(part):
        after, metrics = step(init_planner(small, tx), part, jax.random.key(0))
        return jax.tree.map(lambda old, new: np.asarray(old - new), small, after.params), metrics

    whole, metrics = grads(batch)
    later = whole.pop("alike"), whole["mention"].pop("kernel")  # in one take no look comes again
    assert all(np.isfinite(g).all() and g.any() for g in jax.tree.leaves(whole))
    assert not any(g.any() for g in later)
    halves = [grads({k: jnp.tile(v[at], (2, *(1,) * (v.ndim - 1))) for k, v in batch.items()})
              for at in (slice(8), slice(8, 16))]  # fmt: skip
    for half, _ in halves:
        del half["alike"], half["mention"]["kernel"]
    means = jax.tree.map(lambda a, b: (a + b) / 2, halves[0][0], halves[1][0])
    for a, b in zip(*map(jax.tree.leaves, (whole, means)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    losses = [float(half[1]["loss"]) for half in halves]
    assert float(metrics["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)


def test_words_are_pointed_at_from_the_tokens_that_they_state():
    """The loss of pointing is of tokens over the words, of words over the tokens, and of words over
    those that name whom they speak of."""
    model = Planner(width=16, heads=2, byte_width=8, text_length=L)
    batch = {name: jnp.asarray(value) for name, value in SOURCE.batch(range(8)).items()}
    small = weights(model)
    args = batch["text"], batch["image"], batch["tokens"]
    _, scores, refers = (np.asarray(x, np.float64) for x in model.apply({"params": small}, *args))
    scores = scores[..., :M]
    spans, real = np.asarray(batch["spans"]), np.asarray(batch["tokens"]) > 0
    want = 0.0
    for b in range(8):
        goal = np.asarray(batch["refers"])[b].reshape(-1, M)
        z = np.exp(refers[b].reshape(-1, M)[goal.any(1)])  # of words that speak of somebody
        if len(z):
            want += -np.log((z * goal[goal.any(1)]).sum(1) / z.sum(1)).mean() / 8
        z = np.exp(scores[b][real[b]])
        span = spans[b][real[b]]
        back = (z / np.maximum(z.sum(0), 1e-300)).T  # of padding: nothing of nothing
        for w, inside in ((z / z.sum(1, keepdims=True), span), (back, span.T)):
            said = inside.any(1)
            want += -np.log((w * inside).sum(1)[said]).mean() / 8
    step = make_planner_step(model, optax.sgd(1.0))
    state = init_planner(small, optax.sgd(1.0))
    assert float(step(state, batch, jax.random.key(0))[1]["pointing"]) == pytest.approx(want, 1e-4)


def step_of(params: dict, batch: dict, *, packed: bool) -> tuple[dict, dict]:
    """A step of plain descent: what was taken from each parameter, and the metrics."""
    tx = optax.sgd(1.0)
    step = jax.jit(make_planner_step(SMALL, tx, packed=packed))
    after, metrics = step(init_planner(params, tx), batch, jax.random.key(0))
    return jax.tree.map(lambda a, b: np.asarray(a - b), params, after.params), metrics


def assert_same(one: tuple[dict, dict], other: tuple[dict, dict]) -> None:
    for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("kind", ("pictured", "long"))
def test_a_step_without_padding_is_the_same_step(kind):
    host = SOURCE.batch(range(8), kind)
    batch = {name: jnp.asarray(value) for name, value in host.items()}
    words_, tokens = usual_counts(batch)
    assert words_ < 8 * most_words(batch["text"].shape[1]) and tokens <= batch["tokens"].size
    assert float(fitting(batch, (words_, tokens))[0]) == 1
    small = weights(SMALL)
    assert_same(*(step_of(small, batch, packed=packed) for packed in (False, True)))


def test_what_does_not_fit_into_the_rows_is_not_learnt_from(monkeypatch):
    """What comes last does not, however long it is."""
    batch = {name: jnp.asarray(value) for name, value in SOURCE.batch(range(8), "long").items()}
    many = np.asarray((words(batch["text"])[..., 0] > 0).sum(1))
    usual = (many[:6].sum() / 8, 0.0), (float(S), 0.0)
    monkeypatch.setitem(STORIES, (grammar.LENGTH, False), usual)
    small = weights(SMALL)
    packed = step_of(small, batch, packed=True)
    tokens = np.asarray((batch["tokens"] > 0).sum(1)).cumsum()
    kept = min(6, int((tokens <= 8 * S).sum()))
    assert 2 <= kept < 6  # it is the tokens that do not fit
    monkeypatch.setitem(STORIES, (grammar.LENGTH, False), (usual[0], (99.0, 0.0)))
    packed_6 = step_of(small, batch, packed=True)
    for found, n in ((packed, kept), (packed_6, 6)):
        first = {name: value[:n] for name, value in batch.items()}
        assert_same(found, step_of(small, first, packed=False))


def test_devices_agree():
    """One device, eight under jit and eight under pmap: state after three steps, to 1e-5."""
    host = SOURCE.batch(range(B))
    assert host["image"].size == 0  # such arrays are split over devices too
    # Adam moves a weight whose gradient is rounding noise by up to lr, so lr bounds the agreement.
    tx, small = make_optimizer(OptimConfig(lr=3e-4, warmup=2), 100), weights(SMALL)
    make_step = functools.partial(make_planner_step, SMALL, tx)
    results = []
    for devices, backend in ((1, "jit"), (8, "jit"), (8, "pmap")):
        step = compile_step(make_step, make_mesh(jax.devices()[:devices]), backend=backend)
        state, key = replicate((init_planner(small, tx), jax.random.key(0)), step.mesh)
        state = jax.tree.map(jnp.copy, state)  # the step takes its buffers
        for i in range(3):
            rows = {name: np.roll(value, i, 0) for name, value in host.items()}
            state, metrics = step(state, place_batch(rows, step.mesh), key)
        results.append({"state": jax.device_get(state), "metrics": jax.device_get(metrics)})
    for other in results[1:]:
        for a, b in zip(*map(jax.tree.leaves, (other, results[0])), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), results[0]["state"].params, small)
    assert max(jax.tree.leaves(moved)) > 3e-4  # agreement of something that happened


def test_kinds_of_stories_take_turns_also_after_a_stop():
    data = DataConfig(source="stories", text_length=256, threads=1)
    run = PlannerRun(data=data, train=TrainConfig(batch_size=4))
    stream = training_planner.prompt_batches(run, 0, 0)
    batches = [next(stream) for _ in range(2 * len(training_planner.KINDS))]
    shapes = {"short": (L, S, 0), "long": (256, grammar.LENGTH, 0), "pictured": (L, S, PICTURE)}
    for batch, kind in zip(batches, training_planner.KINDS * 2, strict=True):
        sizes = [batch[name].shape[1] for name in ("text", "tokens", "image")]
        assert tuple(sizes) == shapes[kind]
    assert set(training_planner.KINDS) == shapes.keys()
    for start in (1, 6):
        again = next(training_planner.prompt_batches(run, start, 0))
        assert all(np.array_equal(again[name], batches[start][name]) for name in again)
    assert len({int(i) for batch in batches for i in batch["index"]}) == 4 * len(batches)
    made = training_planner.prompt_batches(
        dataclasses.replace(run, data=dataclasses.replace(data, workers=2)), 1, 0
    )
    for batch in batches[1:4]:  # by processes, the same in the same order
        found = next(made)
        assert all(np.array_equal(found[name], batch[name]) for name in batch)
    made.close()
    run = dataclasses.replace(run, data=DataConfig(text_length=128, threads=1))
    scenes = next(training_planner.prompt_batches(run, 1, 0))
    assert scenes["text"].shape == (4, 128) and scenes["tokens"].shape == (4, S)


def test_signals_to_all_processes_of_a_run_leave_those_that_make_prompts():
    data = DataConfig(source="stories", text_length=256, threads=1, workers=1)
    run = PlannerRun(data=data, train=TrainConfig(batch_size=4))
    made = training_planner.prompt_batches(run, 0, 0)
    next(made)
    (worker,) = multiprocessing.active_children()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    for _ in range(8):
        next(made)
    assert worker.is_alive()
    made.close()
    assert not worker.is_alive()


def test_texts_too_short_for_stories_are_refused():
    run = PlannerRun(data=DataConfig(source="stories", text_length=128))
    with pytest.raises(UserError, match="--data.text-length 256, or 160 at least"):
        training_planner.prompt_source(run)
    at_least = dataclasses.replace(run, data=DataConfig(source="stories", text_length=160))
    assert training_planner.prompt_source(at_least).batch([0], "long")["text"].shape == (1, 160)


@pytest.mark.parametrize("dtype, low", (("float32", False), ("bfloat16", True)))
def test_the_step_computes_in_what_the_run_says(dtype, low, monkeypatch):
    made = []

    def seen(make_step, *rest, **more):
        made.append(make_step)
        return compile_step(make_step, *rest, **more)

    monkeypatch.setattr(training_planner, "compile_step", seen)
    run = dataclasses.replace(PlannerRun(), compute=PrecisionConfig(dtype=dtype))
    training_planner.planner_step(run, training_planner.make_planner(run))
    assert made[0].args[0].low is low
    assert made[0].keywords == {"packed": False}  # captions of scenes are not stories
    stories = dataclasses.replace(run, data=DataConfig(source="stories", text_length=256))
    training_planner.planner_step(stories, training_planner.make_planner(stories))
    assert made[1].keywords == {"packed": jax.device_count() == 1}
    monkeypatch.setattr(training_planner, "make_mesh", lambda *_: make_mesh(jax.devices()[:1]))
    for length, packed in ((256, True), (300, False)):  # the counts are of 256 bytes
        longer = dataclasses.replace(stories, data=DataConfig(source="stories", text_length=length))
        training_planner.planner_step(longer, training_planner.make_planner(longer))
        assert made[-1].keywords == {"packed": packed}


def test_a_training_begins_with_given_weights() -> None:
    _, params, shipped = training_planner.read_planner(training_planner.SHIPPED)
    run = dataclasses.replace(shipped, base="shipped", optim=OptimConfig(kind="muon"))
    state = training_planner._based(run)
    assert tree_digest(state.params) == tree_digest(state.ema) == tree_digest(params)
    assert int(state.step) == 0
    other = dataclasses.replace(run, planner=PlannerConfig(width=16))
    with pytest.raises(UserError, match="take those, or leave base out"):
        training_planner._based(other)


def test_a_run_of_stories_is_trained_and_loaded(tmp_path, monkeypatch):
    """By Muon, on a short, a long and a pictured batch."""
    monkeypatch.setattr(training_planner, "make_mesh", lambda *_: make_mesh(jax.devices()[:1]))
    run = PlannerRun(
        data=DataConfig(source="stories", text_length=256),
        planner=PlannerConfig(width=16, heads=2, byte_width=8),
        optim=OptimConfig(kind="muon", lr=1e-2),
        train=TrainConfig(steps=3, batch_size=2),
    )
    state = training_planner.train_planner(run, tmp_path / "planner")
    planner, loaded, again = training_planner.load_planner(tmp_path / "planner")
    assert int(state.step) == 3 and again == run and planner == training_planner.make_planner(run)
    assert tree_digest(loaded) == tree_digest(state)


def test_the_configuration_fits_the_network():
    fields = PlannerConfig.__dataclass_fields__
    assert Planner(**{name: getattr(PlannerConfig(), name) for name in fields}) == Planner()
    with pytest.raises(UserError, match="try heads"):
        PlannerConfig(width=32, heads=5)
