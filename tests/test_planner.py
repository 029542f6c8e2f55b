"""Laws of the planner: it cannot look ahead, cannot write nonsense, and means what it samples."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvid import grammar
from jaxvid.config import OptimConfig, PlannerConfig
from jaxvid.data.prompts import PromptSource
from jaxvid.losses.tokens import log_probs
from jaxvid.models.planner import Planner, sample
from jaxvid.optim import make_optimizer
from jaxvid.state import init_planner
from jaxvid.steps.planner import make_planner_step
from jaxvid.typing import UserError

MODEL = Planner(width=32, encoder_layers=1, decoder_layers=2, heads=4, byte_width=16)


@pytest.fixture(scope="module")
def batch() -> dict[str, jax.Array]:
    host = PromptSource("train", seed=1).batch(range(8))
    return {key: jnp.asarray(value) for key, value in host.items()}


@pytest.fixture(scope="module")
def params(batch):
    fresh = jax.jit(MODEL.init)(jax.random.key(0), batch["text"], batch["tokens"])["params"]
    # Larger weights than at the start, so that every path matters.
    return jax.tree.map(lambda p: p * 1.5, fresh)


@pytest.fixture(scope="module")
def logits(batch, params):
    return jax.jit(MODEL.apply)({"params": params}, batch["text"], batch["tokens"])


@pytest.fixture(scope="module")
def sampled(params):
    """256 scripts of an untrained planner at temperature 2, and their log-probabilities."""
    text = jnp.asarray(PromptSource("test").batch(range(256))["text"])
    draw = jax.jit(lambda p, t, k: sample(MODEL, p, t, k, temperature=2.0))
    return text, draw, *draw(params, text, jax.random.key(3))


def test_shapes(batch, logits):
    assert logits.shape == (8, grammar.LENGTH, grammar.VOCABULARY)
    assert logits.dtype == jnp.float32 and bool(jnp.isfinite(logits).all())


def test_cached_decoding_equals_teacher_forcing(batch, params, logits):
    variables, tokens = {"params": params}, batch["tokens"]
    prompt = MODEL.apply(variables, batch["text"], method="read")
    cache = MODEL.apply(variables, 8, method="empty_cache")
    write = jax.jit(lambda *args: MODEL.apply(variables, *args, method="write"))
    before = jnp.zeros(8, jnp.int32)
    for s in range(grammar.LENGTH):
        step, cache = write(before[:, None], jnp.int32(s), cache, prompt)
        np.testing.assert_allclose(step[:, 0], logits[:, s], atol=1e-5)
        before = tokens[:, s]


def test_the_future_and_the_token_itself_have_no_gradient(batch, params):
    """d logits[s] / d embedding of token[t] is zero exactly where t >= s."""
    tokens, S = batch["tokens"][:1], grammar.LENGTH
    variables = {"params": params}
    prompt = MODEL.apply(variables, batch["text"][:1], method="read")

    embed = params["embed"]["embedding"]
    before_SD = embed[jnp.pad(tokens[0], (1, 0))[:-1]]

    def energy(shift_S, s):
        # Position t reads row t of a table of its own, moved by hand: integers have no gradient.
        table = jnp.zeros_like(embed).at[:S].set(before_SD + shift_S[:, None])
        own = {"params": {**params, "embed": {"embedding": table}}}
        cache = MODEL.apply(own, 1, method="empty_cache")
        rows = jnp.arange(S)[None]
        out, _ = MODEL.apply(own, rows, jnp.int32(0), cache, prompt, method="write")
        return (out[0, s] ** 2).sum()

    rows = jax.jit(jax.vmap(jax.grad(energy), (None, 0)))(jnp.zeros(S), jnp.arange(S))
    # Row s: gradient by the input at position t, which is the token t - 1.
    future = np.triu(np.ones((S, S), bool), 1)
    assert (np.asarray(rows)[future] == 0).all()
    assert (np.abs(np.asarray(rows)[~future]) > 1e-7).all()


def test_padding_of_the_prompt_is_not_read(batch, params):
    """All padding after the longest prompt is cut off; biases are not zero, as after training."""
    keep = -(-int((batch["text"] > 0).sum(1).max()) // 4) * 4
    assert keep < 128
    biased = jax.tree_util.tree_map_with_path(
        lambda path, p: p + 0.5 * (path[-1].key == "bias"), params
    )
    place = biased["encoder"]["place"][: keep // 4]
    cut = {**biased, "encoder": {**biased["encoder"], "place": place}}
    whole = jax.jit(MODEL.apply)({"params": biased}, batch["text"], batch["tokens"])
    short = jax.jit(MODEL.apply)({"params": cut}, batch["text"][:, :keep], batch["tokens"])
    np.testing.assert_allclose(short, whole, atol=1e-5)


def test_random_weights_write_valid_scripts_only(sampled):
    _, _, tokens, _ = sampled
    scripts = [grammar.decode(row) for row in np.asarray(tokens)]  # UserError if not valid
    assert len({str(script) for script in scripts}) > 250
    assert {len(script.entities) for script in scripts} == {1, 2}


def test_sampled_log_probs_are_those_of_training(params, sampled):
    text, _, tokens, logp = sampled
    logits = jax.jit(MODEL.apply)({"params": params}, text, tokens)
    again = log_probs(logits, tokens, temperature=2.0)
    np.testing.assert_allclose(again, logp, atol=1e-5)
    assert (np.asarray(logp) <= 1e-6).all() and np.asarray(logp).min() > -50


def test_an_example_is_drawn_alike_in_any_batch(params, sampled):
    text, draw, tokens, _ = sampled
    few, _ = draw(params, text[:3], jax.random.key(3))
    assert np.array_equal(few, tokens[:3])
    other, _ = draw(params, text[:3], jax.random.key(4))
    assert not np.array_equal(other, tokens[:3])


@pytest.fixture(scope="module")
def greedy():
    """Compiled greedy sampling, all slots."""
    return jax.jit(lambda p, t, k: sample(MODEL, p, t, k, greedy="all"))


def test_greedy_is_the_likeliest_allowed_token(params, sampled, greedy):
    text = sampled[0][:8]
    tokens, _ = greedy(params, text, jax.random.key(0))
    again, _ = greedy(params, text, jax.random.key(1))
    assert np.array_equal(tokens, again)
    logits = jax.jit(MODEL.apply)({"params": params}, text, tokens)
    table = grammar.tables()
    for row, z_SV in zip(np.asarray(tokens), np.asarray(logits), strict=True):
        state = grammar.START
        for s, token in enumerate(row):
            z_V = np.where(table.allowed[state], z_SV[s], -np.inf)
            assert z_V[token] >= z_V.max() - 1e-5
            state = int(table.next_state[state, token])


def test_greedy_attributes_draw_what_is_free(params, sampled, greedy):
    text = sampled[0][:8]
    draw = jax.jit(lambda p, t, k: sample(MODEL, p, t, k, greedy="attributes")[0])
    a, b = (np.asarray(draw(params, text, jax.random.key(key))) for key in (0, 1))
    first = grammar.HEAD + grammar.SLOTS.index("travel")  # later attributes may follow from draws
    likeliest, _ = greedy(params, text, jax.random.key(0))
    assert np.array_equal(a[:, :first], likeliest[:, :first])
    assert np.array_equal(a[:, :first], b[:, :first])
    assert (a[:, grammar.FREE] != b[:, grammar.FREE]).any()


def test_training(batch, greedy):
    """One batch is learnt by heart, with one compilation, and examples do not see each other."""
    params = jax.jit(MODEL.init)(jax.random.key(0), batch["text"], batch["tokens"])["params"]
    tx = make_optimizer(OptimConfig(lr=1e-2, warmup=10), 120)
    step = jax.jit(make_planner_step(MODEL, tx, free_weight=1.0))
    state, key = init_planner(params, tx), jax.random.key(0)
    losses = []
    for _ in range(120):
        state, metrics = step(state, batch, key)
        losses.append(float(metrics["loss"]))
    assert step._cache_size() == 1
    assert losses[0] > 1.5 and losses[-1] < 0.1 and int(state.step) == 120
    assert all(m.shape == () and m.dtype == jnp.float32 for m in metrics.values())
    assert float(metrics["accuracy"]) > 0.97
    got = np.asarray(greedy(state.params, batch["text"], key)[0])
    assert (got == np.asarray(batch["tokens"])).mean() > 0.97
    moved = [
        float(jnp.abs(e - p).max())
        for e, p in zip(*map(jax.tree.leaves, (state.ema, params)), strict=True)
    ]
    assert min(moved) > 0

    fresh = init_planner(params, tx)
    halves = [{name: v[part] for name, v in batch.items()} for part in (slice(4), slice(4, 8))]
    parts = [float(step(fresh, half, key)[1]["loss"]) for half in halves]
    assert losses[0] == pytest.approx(sum(parts) / 2, rel=1e-5)


def test_the_step_sends_gradients_and_metrics_through_reduce(batch, params):
    tx = optax.sgd(1.0)
    state = init_planner(params, tx)
    nothing = jax.tree_util.Partial(jax.tree.map, lambda a: a * 0 + 2)
    step = jax.jit(make_planner_step(MODEL, tx, reduce=nothing))
    after, metrics = step(state, batch, jax.random.key(0))
    assert all(float(m) == 2 for m in metrics.values())
    for old, new in zip(*map(jax.tree.leaves, (params, after.params)), strict=True):
        np.testing.assert_allclose(new, old - 2, rtol=1e-6, atol=1e-6)


def test_the_configuration_fits_the_network():
    fields = PlannerConfig.__dataclass_fields__
    assert Planner(**{name: getattr(PlannerConfig(), name) for name in fields}) == Planner()
    with pytest.raises(UserError, match="try heads"):
        PlannerConfig(width=32, heads=5)
