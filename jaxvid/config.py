"""Every knob, as frozen dataclasses: ``presets`` builds them, the command line overrides them.

A ``GanRun`` or ``PlannerRun`` is all that a training needs to be repeated; it is written as
``config.json`` into the run folder and read back with ``from_json``.
"""

import dataclasses
import json
import pathlib
from typing import Any, Literal, TypeVar

from jaxvid import document
from jaxvid.bounds import WIDEST, below_one, heads, multiple, need, not_negative, positive, widths
from jaxvid.typing import UserError

R = TypeVar("R")
LARGEST = 2**31  # bytes of a clip


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is trained on, ``scenes``, ``folder:PATH`` or ``tfds:NAME``, and the shape of a clip."""

    source: str = "scenes"
    resolution: int = 32  # pixels, height and width of a clip
    frames: int = 16
    fps: float = 8.0  # frames a second that a clip is sampled at
    text_length: int = 128  # bytes of caption that are read
    classes: tuple[str, ...] = ()  # names of the clips' classes; filled from the data
    memory_gb: float = 2.0  # sets that fit are held in memory
    threads: int = 2  # that decode and gather batches
    workers: int = 0  # processes that make prompts, where a GPU reads them faster than one can

    def __post_init__(self) -> None:
        positive(self, "resolution", "frames", "fps", "text_length", "threads")
        not_negative(self, "memory_gb", "workers")
        multiple("text_length", self.text_length, 4, "the encoders read four bytes as one")
        need(self, ("text_length", "threads"), lambda value: value <= WIDEST, f"at most {WIDEST}")
        if (size := 3 * self.frames * self.resolution**2) > LARGEST:
            raise UserError(
                f"{self.frames} frames of {self.resolution} pixels a side are {size:,} bytes a"
                f" clip; at most {LARGEST:,}"
            )


@dataclasses.dataclass(frozen=True)
class PlannerConfig:
    """Encoder-decoder Transformer from bytes of text, and a picture, to tokens of an outline."""

    width: int = 128
    encoder_layers: int = 1
    decoder_layers: int = 1
    heads: int = 4  # half of the encoder's look back, half ahead
    byte_width: int = 32  # features of a byte

    def __post_init__(self) -> None:
        positive(self, "width", "encoder_layers", "decoder_layers", "heads", "byte_width")
        heads(self.width, self.heads)
        multiple("width", self.width, 2, "two heads find whom words speak of")


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Space-time Transformer over patches, then a per-frame convolutional decoder."""

    width: int = 64  # of a token
    layers: int = 2
    heads: int = 4
    text_layers: int = 1
    patch: int = 4  # pixels; 2 ** len(decoder)
    decoder: tuple[int, ...] = (48, 32)  # channels of each doubling of resolution
    blocks: int = 1  # residual blocks of each stage
    drawing: int = 32  # features a pixel of the drawn script
    latent: int = 0  # numbers that say of a clip what conditions leave open; own clips need them
    motion: int = 0  # numbers that say so of each frame: a hand-held camera's, where scripted
    policy: int = 0  # width of what draws them, once train.rl has tuned it; 0: N(0, I) draws them
    actions: int = 0  # numbers a frame beside these, for the policy alone; filled by train.rl
    # Space then time, both at once in windows of frames, or both at once in the whole clip.
    attention: Literal["factorised", "windowed", "full"] = "factorised"
    window: int = 4  # frames of a window, if windowed

    def __post_init__(self) -> None:
        positive(self, "width", "layers", "heads", "patch", "blocks", "drawing", "window")
        heads(self.width, self.heads)
        not_negative(self, "text_layers", "latent", "motion", "policy", "actions")
        widths(self, "decoder")
        if self.width % 2:
            raise UserError(f"width {self.width} must be even; try {self.width + 1}")
        if self.patch != 2 ** len(self.decoder):
            raise UserError(
                f"patch {self.patch} needs a decoder of log2(patch) stages, not {len(self.decoder)}"
            )


@dataclasses.dataclass(frozen=True)
class CriticConfig:
    """Frame critic: some frames at full resolution. Clip critic: all frames at half resolution."""

    frames: int = 4  # that the frame critic sees of a clip
    frame_widths: tuple[int, ...] = (32, 48, 64)  # channels from half resolution down
    clip_width: int = 64
    clip_layers: int = 2
    heads: int = 4
    text_width: int = 64

    def __post_init__(self) -> None:
        positive(self, "frames", "clip_width", "clip_layers", "heads", "text_width")
        heads(self.clip_width, self.heads)
        widths(self, "frame_widths")


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """What generator and critics are trained for; see jaxvid.losses and steps.gan."""

    adversarial: Literal["relativistic", "nonsaturating", "minimax", "hinge"] = "relativistic"
    penalty: Literal["finite", "exact", "r1", "none"] = "finite"  # r1: exact, on real clips alone
    penalty_weight: float = 6e-5  # times the elements that a critic sees
    penalty_epsilon: float = 0.05  # of the finite difference, pixels being in -1..1
    centring: float = 0.01
    generator: float = 1.0  # weight of the adversarial loss of the generator
    reconstruction: float = 10.0  # Charbonnier distance to the real clip, at the first step
    reconstruction_final: float = 1.0  # at the last step (cosine)
    reconstruction_epsilon: float = 0.05  # below it a difference (-1..1) counts by its square
    mismatch: float = 0.5  # real clips under a wrong script, as further negatives
    transport: float = 0.0  # (G(n) - n)² where nothing is known and no script given
    kl: float = 2e-3  # of what is read of clips, latent and motion, to N(0, 1)
    posterior: float = 0.5  # share of clips whose latent is read from the real clip, not drawn
    warmup: int = 0  # steps of reconstruction alone before the critics join
    frames: int = 8  # of a clip that a step trains on, drawn at random; the more, the fewer clips
    warmup_frames: int = 4  # the same during the warm-up
    augment: float = 0.5  # strength of the critics' augmentation, clips without script
    ema: float = 0.995

    def __post_init__(self) -> None:
        positive(self, "penalty_epsilon", "reconstruction_epsilon", "frames", "warmup_frames")
        not_negative(self, "penalty_weight", "centring", "generator", "reconstruction")
        not_negative(self, "reconstruction_final", "mismatch", "transport", "warmup", "augment")
        not_negative(self, "kl", "posterior")
        below_one(self, "ema")
        if self.posterior > 1:
            raise UserError(f"posterior is {self.posterior}; it is a share, at most 1")


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """Shares of the tasks that a clip is trained on: what of it is known. They add up to 1.

    ``drop_*``: shares of clips whose condition is left out, so that it can be left out later.
    """

    nothing: float = 0.5
    first: float = 0.1
    start: float = 0.1  # the first frames, any number of them: continuation
    ends: float = 0.2  # both ends, every fourth or every second frame: in-betweening
    scattered: float = 0.05  # each frame with probability 1/4
    region: float = 0.05  # all but a box, in all frames: inpainting
    drop_text: float = 0.1
    drop_script: float = 0.1
    drop_class: float = 0.1

    def __post_init__(self) -> None:
        shares = (self.nothing, self.first, self.start, self.ends, self.scattered, self.region)
        if min(shares) < 0 or not abs(sum(shares) - 1) <= 1e-6:
            raise UserError(f"the shares of the tasks are {shares}; they must add up to 1")
        below_one(self, "drop_text", "drop_script", "drop_class")


@dataclasses.dataclass(frozen=True)
class PrecisionConfig:
    """In which numbers a step is computed."""

    dtype: Literal["float32", "bfloat16"] = "float32"  # of networks; weights, losses stay float32


@dataclasses.dataclass(frozen=True)
class ComputeConfig(PrecisionConfig):
    """How a step is computed; none of it changes what is learnt, but for rounding."""

    remat: bool = False  # compute layers again for the gradient: less memory, a third more work
    accumulate: int = 1  # parts that a batch is computed in, one after the other

    def __post_init__(self) -> None:
        positive(self, "accumulate")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How devices are laid out: the batch is split over all, the state over ``fsdp`` of them."""

    data: int = 0  # groups that hold a whole state each; 0: as many as there are devices for
    fsdp: int = 1  # devices that share one state, parameters and optimizers split among them

    def __post_init__(self) -> None:
        not_negative(self, "data")
        positive(self, "fsdp")


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """Adam or Muon with linear warm-up and cosine decay to ``final`` times the learning rate."""

    kind: Literal["adam", "muon"] = "adam"
    lr: float = 1e-3
    b1: float = 0.9
    b2: float = 0.99
    warmup: int = 50  # steps
    final: float = 0.1  # of lr, after train.steps updates; critics make loss.warmup fewer
    clip: float = 1.0  # global norm of the gradient

    def __post_init__(self) -> None:
        positive(self, "lr", "clip")
        not_negative(self, "warmup", "final")
        below_one(self, "b1", "b2")
        if self.final > 1:
            raise UserError(f"final is {self.final}; it is a share of lr, at most 1")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long, how often, on what."""

    steps: int = 1000
    batch_size: int = 16  # over all devices
    seed: int = 0
    backend: Literal["jit", "pmap"] = "jit"
    log_every: int = 20  # steps
    sample_every: int = 500
    checkpoint_every: int = 500
    keep: int = 2  # latest checkpoints beside the best
    skips: int = 5  # steps in a row that are not finite before the run goes back
    rollbacks: int = 3  # times that a run goes back to its checkpoint before it stops
    watchdog: float = 1800.0  # seconds without a step after which a run ends with code 75; 0: never
    tensorboard: bool = False

    def __post_init__(self) -> None:
        positive(
            self, "steps", "batch_size", "log_every", "sample_every", "checkpoint_every", "keep"
        )
        positive(self, "skips")
        not_negative(self, "seed", "rollbacks", "watchdog")


@dataclasses.dataclass(frozen=True)
class RlConfig:
    """What the generator's motion is tuned for, and how; see jaxvid.rl and steps.rl."""

    algorithm: Literal["policy", "path"] = "policy"  # by samples; by the rewards' own gradient
    rewards: tuple[str, ...] = (
        "acceleration", "interpolation", "warping", "appearance", "motion",
    )  # fmt: skip
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)  # of the rewards, in their order
    group: int = 8  # clips of a prompt; train.batch_size counts prompts
    discount: float = 0.9  # of later frames' rewards, where a reward reads the whole clip
    baseline: Literal["group", "leave_one_out"] = "group"
    clip: float = 0.2  # of the ratio of probabilities
    updates: int = 1  # on the same clips
    kl: float = 0.02  # weight of the divergence from the reference, nats a frame
    kl_budget: float = 20.0  # nats a frame; beyond it the run ends
    first: float = 0.5  # share of prompts whose first frame is known: a frozen key frame
    window: int = 0  # frames that the rewards' gradient goes through; 0: all
    actions: int = 16  # numbers a frame, beside what the generator has of its own
    response: float = 0.003  # of -1..1: how much such numbers change a frame at the start
    width: int = 64  # of the policy
    critics_learn: bool = False  # on the policy's clips and real ones
    base: str = ""  # "shipped" or a file of exported weights, to tune instead of the run's own
    ema: float = 0.9

    def __post_init__(self) -> None:
        positive(self, "updates", "clip", "kl_budget", "actions", "response", "width")
        not_negative(self, "kl", "window")
        multiple("rl.width", self.width, 4, "the policy has four heads")
        need(self, ("discount", "first"), lambda value: 0 <= value <= 1, "from 0 to 1")
        below_one(self, "ema")
        least = 2 if self.algorithm == "policy" else 1
        need(self, ("group",), lambda value: value >= least, f"{least} or more")
        if len(self.rewards) != len(self.weights) or not self.rewards:
            raise UserError(
                f"{len(self.rewards)} rewards and {len(self.weights)} weights; give as many of each"
            )


@dataclasses.dataclass(frozen=True)
class PlannerRlConfig:
    """What the planner is tuned for, and how; see jaxvid.rl.plans and steps.rl_planner."""

    rewards: tuple[str, ...] = ("unread", "invented", "unrelated", "outside", "colliding")
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)  # of the rewards, in their order
    group: int = 8  # outlines of a prompt; train.batch_size counts prompts
    temperature: float = 1.0
    discount: float = 1.0  # of later tokens' rewards
    baseline: Literal["group", "leave_one_out"] = "group"
    clip: float = 0.2  # of the ratio of probabilities
    updates: int = 1  # on the same outlines
    kl: float = 0.02  # weight of the divergence from the reference, nats a sentence
    kl_budget: float = 10.0  # nats a sentence; beyond it the run ends
    base: str = ""  # "shipped" or a file of exported weights, to tune instead of the run's own
    ema: float = 0.99

    def __post_init__(self) -> None:
        positive(self, "updates", "clip", "kl_budget", "temperature")
        not_negative(self, "kl")
        need(self, ("discount",), lambda value: 0 <= value <= 1, "from 0 to 1")
        need(self, ("group",), lambda value: value >= 2, "2 or more")
        below_one(self, "ema")
        if len(self.rewards) != len(self.weights) or not self.rewards:
            raise UserError(
                f"{len(self.rewards)} rewards and {len(self.weights)} weights; give as many of each"
            )


@dataclasses.dataclass(frozen=True)
class PlannerRun:
    """Everything that a planner training is made of."""

    base: str = ""  # "shipped" or a file of exported weights to begin with
    data: DataConfig = DataConfig()
    planner: PlannerConfig = PlannerConfig()
    compute: PrecisionConfig = PrecisionConfig()
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig()


@dataclasses.dataclass(frozen=True)
class GanRun:
    """Everything that a GAN training is made of."""

    data: DataConfig = DataConfig()
    generator: GeneratorConfig = GeneratorConfig()
    critic: CriticConfig = CriticConfig()
    loss: LossConfig = LossConfig()
    tasks: TaskConfig = TaskConfig()
    compute: ComputeConfig = ComputeConfig()
    optim: OptimConfig = OptimConfig(b1=0.0)
    critic_optim: OptimConfig = OptimConfig(b1=0.0)
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig()

    def __post_init__(self) -> None:
        of = max(self.generator.patch, 2 ** len(self.critic.frame_widths), 8)
        multiple("resolution", self.data.resolution, of, "the networks halve it that often")
        multiple("batch_size", self.train.batch_size, self.compute.accumulate, "its parts")


@dataclasses.dataclass(frozen=True)
class RlRun:
    """Everything that tuning a trained generator is made of, beside that."""

    rl: RlConfig = RlConfig()
    optim: OptimConfig = OptimConfig(lr=1e-3, b1=0.9, warmup=10)
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig(
        steps=200, batch_size=4, log_every=10, sample_every=50, checkpoint_every=50
    )


@dataclasses.dataclass(frozen=True)
class PlannerRlRun:
    """Everything that tuning a trained planner is made of, beside that."""

    rl: PlannerRlConfig = PlannerRlConfig()
    optim: OptimConfig = OptimConfig(lr=3e-4, warmup=10)
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig(
        steps=400, batch_size=32, log_every=10, sample_every=50, checkpoint_every=50
    )


def to_json(run: Any) -> str:
    """The resolved configuration, as written to ``config.json``."""
    return json.dumps(dataclasses.asdict(run), indent=1)


def read(cls: type[R], path: pathlib.Path) -> R:
    """The configuration in a run's file. Raises UserError, naming it, for anything else."""
    try:
        return from_json(cls, document.read_file(path))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def from_json(cls: type[R], text: str) -> R:
    """Reads what ``to_json`` wrote. Raises UserError for a key or value that does not fit."""
    return document.load(cls, document.parse(text, name="config"), name="config")
