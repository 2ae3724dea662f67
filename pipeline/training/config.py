"""The training configuration: YAML in, checked settings out; sizes that cannot work are refused here by name."""

from collections.abc import Sequence
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.config import Bytes, Section, read_yaml, validate

Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]


def _half_open(betas: tuple[float, float]) -> tuple[float, float]:
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"each beta must be at least 0 and below 1, found {list(betas)}")
    return betas


class Columns(Section):
    """What the columns of a source are called, where it is none of our shards."""

    image: str = "image"  # of a pair or a row with one image
    images: str = "images"  # of a row with several
    text: str = "text"  # or a caption
    texts: str = "texts"
    messages: str = "messages"  # of a dialogue: `{role, content}`


class Source(Section):
    """Documents of one kind, with a share of the tokens."""

    name: str = Field(default="data", pattern=r"^[\w.-]+$")
    kind: Literal["documents", "obelics", "pairs", "datasets", "text", "dialogues"] = "documents"
    path: str
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)  # share of the tokens, relative to the others'
    split: str = Field(default="train", pattern=r"^\w+$")
    epochs: Positive | None = None  # it ends after so many; none: it goes on as long as the training
    images: str | None = None  # where the bytes of images are that the documents name by address
    columns: Columns = Columns()


class Template(Section):
    """How the turns of a dialogue are written; the default is that of IDEFICS-instruct. `{text}` is the turn; of an answer
    it is learned, with the `<end_of_utterance>` that follows."""

    system: str = "{text}<end_of_utterance>\n"
    user: str = "User:{text}<end_of_utterance>\n"
    assistant: str = "Assistant: {text}<end_of_utterance>\n"

    @model_validator(mode="after")
    def _text(self) -> Self:
        for name, template in self:
            if template.count("{text}") != 1:
                raise ValueError(f"{name}: {template!r} must hold {{text}} once")
        return self


class Data(Section):
    """What is read: one folder of shards as the pipeline writes them (`path`), or several sources."""

    path: str | None = None
    split: str = Field(default="train", pattern=r"^\w+$")
    sources: tuple[Source, ...] = ()
    template: Template = Template()  # of dialogues
    lanes: Positive = 1  # independent streams; a multiple of GPUs times workers, and the order depends on it alone
    workers: int = Field(default=0, ge=0, le=256)  # processes a GPU that read and decode; 0: training does it itself
    ahead: Positive = 2  # batches that a worker is ahead
    max_pixels: Positive = 100_000_000  # of an image as stored; a larger one counts as broken and is never decoded
    max_bytes: Bytes = 50 * 10**6  # of an image as stored
    seconds: float = Field(default=10, gt=0, le=600)  # for an image
    max_images: Positive = 1000  # of a document; what is beyond is left out
    max_row_group: Bytes = 2 * 10**9  # bytes; a row group is held in memory whole

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.path is None) == (not self.sources):
            raise ValueError("name a folder of shards (path) or several sources: one of path and sources")
        names = [source.name for source in self.sources]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"sources: two of the name {', '.join(twice)}")
        return self

    @property
    def listed(self) -> tuple[Source, ...]:
        """The sources, also where `path` alone is named."""
        return self.sources if self.path is None else (Source(path=self.path, split=self.split),)


class Images(Section):
    """How images are shown to the vision encoder; their size and what stands for them follow from the model."""

    shortest: Positive = 378  # idefics2: pixels of the shorter side
    longest: Positive = 1456  # idefics3: pixels of the longer side before it is cut into tiles
    split: bool | None = None  # idefics3: into tiles, as published; idefics2: into quarters beside the whole, if asked
    fast_jpeg: bool = False  # idefics: large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size; not to the bit


class Tokenizer(Section):
    """A tokenizer of yours, or a byte-level BPE learned from the sources."""

    path: str | None = None  # a folder, or a name on the hub; none: it is learned
    vocab_size: int = Field(
        default=1024, ge=300
    )  # 256 bytes, 3 special tokens, and merges; the image tokens come on top
    documents: Positive = 10_000  # it learns from this many, the first of each source in turn


class Packing(Section):
    tokens: int = Field(ge=8)  # length of a sequence
    images: Positive  # at most so many in a sequence; what an image is cut into counts as one
    window: Positive = 64  # documents among which sequences are put together
    held: Bytes = 2 * 10**9  # bytes of decoded pictures with which a window closes early, a lane


class Vision(Section):
    """A vision encoder, CLIP's for IDEFICS and SigLIP's for the others; the names are those of `IdeficsVisionConfig`."""

    image_size: Positive = 224  # pixels, height and width
    patch_size: Positive = 14
    embed_dim: Positive
    intermediate_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    hidden_act: str = "gelu"  # SigLIP: gelu_pytorch_tanh

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _divisible("image_size", self.image_size, "patch_size", self.patch_size)
        _divisible("embed_dim", self.embed_dim, "num_attention_heads", self.num_attention_heads)
        return self


class Perceiver(Section):
    """The resampler behind the vision encoder; the defaults are those of both published IDEFICS.

    Idefics2 has a depth of 3 and 4 heads for keys and values; Idefics3 has none.
    """

    n_latents: Positive = 64
    depth: Positive = 6
    n_heads: Positive = 16
    head_dim: Positive = 96
    n_key_value_heads: Positive | None = None  # of Idefics2; none: as many as `n_heads`


class Lora(Section):
    """Adapters of low rank beside frozen linear layers (peft)."""

    rank: Positive = 64
    alpha: Positive = 64  # what they give is multiplied by alpha / rank
    dropout: float = Field(default=0.1, ge=0, lt=1)
    dora: bool = True  # the weight's magnitude apart from its direction (arXiv 2402.09353), as Idefics2 and 3 had it
    targets: list[str] = Field(min_length=1)  # patterns (`*`) of linear layers' names


class Model(Section):
    """Sizes by the names of `IdeficsConfig`; the vocabulary's size is the tokenizer's. From scratch, unless weights are named.

    Names of weights are folders or hub ids. A checkpoint whose sizes are others is refused.
    """

    family: Literal["idefics", "idefics2", "idefics3"] = "idefics"
    checkpoint: str | None = None  # a whole model of the family
    language: str | None = None  # the language model alone: Llama; for idefics2 Mistral
    vision_encoder: str | None = None  # CLIP; for the others SigLIP
    hidden_size: Positive
    intermediate_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive | None = None  # none: as many; IDEFICS knows no others
    cross_layer_interval: Positive = 4  # idefics: a gated cross-attention block before each so many layers
    scale_factor: Positive = 2  # idefics3: so many neighbours a side are one token
    max_position_embeddings: Positive = 2048
    rope_theta: float = Field(default=10_000.0, gt=0)
    rope_scaling: dict[str, int | float | str] | None = None  # idefics3: as in the language model's configuration
    rms_norm_eps: float = Field(default=1e-6, gt=0)
    initializer_range: float = Field(default=0.02, gt=0)  # of what is drawn and not trained
    vision: Vision
    perceiver: Perceiver = Perceiver()
    train: list[str] | None = Field(default=None, min_length=1)  # patterns (`*`) of parameters; none: the published set
    lora: Lora | None = None

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _divisible("hidden_size", self.hidden_size, "2 * num_attention_heads", 2 * self.num_attention_heads)
        heads = self.num_key_value_heads or self.num_attention_heads
        _divisible("num_attention_heads", self.num_attention_heads, "num_key_value_heads", heads)
        if self.family == "idefics":
            _divisible("num_hidden_layers", self.num_hidden_layers, "cross_layer_interval", self.cross_layer_interval)
            if heads != self.num_attention_heads:
                raise ValueError(
                    "num_key_value_heads: a language model of family idefics has as many as attention heads"
                )
        if self.family == "idefics3":
            side = self.vision.image_size // self.vision.patch_size
            _divisible("vision.image_size / patch_size", side, "scale_factor", self.scale_factor)
        if self.checkpoint and (self.language or self.vision_encoder):
            raise ValueError(
                "checkpoint is a whole model; language and vision_encoder stand in its place, not beside it"
            )
        return self


class Parallel(Section):
    """How the model is computed on one device and on many."""

    precision: Literal["fp32", "bf16"] = (
        "fp32"  # bf16: frozen weights and all computing in bf16, trained weights in fp32
    )
    recompute: Literal["none", "selective", "full"] = "none"  # what of a block the backward pass makes anew
    compile: bool = False  # each block by torch.compile
    shard: Literal["auto", "none", "fsdp"] = "auto"  # whole on each GPU (DDP), in pieces (FSDP2), or as memory asks


class Plan(Section):
    """What `--dry-run` reckons with."""

    device: str = "H200"  # a name of flops.PEAKS and memory.DEVICES
    gpus: Positive = 1
    mfu: float = Field(default=0.4, gt=0, lt=1)  # of the device's peak, operations of the model; 0.4 is good


class Optimizer(Section):
    """AdamW; the defaults are those of the published runs, learning rates those of IDEFICS-9B."""

    learning_rate: Rate = 1e-5
    final_learning_rate: float = Field(default=6e-6, ge=0, lt=1)
    schedule: Literal["linear", "cosine", "wsd"] = "linear"  # after the warm-up; wsd stays, and falls at the end
    warmup_steps: int = Field(default=2000, ge=0)
    decay: Rate = 0.2  # of wsd: the share of all steps in which it falls to `final_learning_rate`
    scale: float = Field(default=1.0, gt=0)  # of the whole schedule: the published 80B run was cut so at its restarts
    betas: Annotated[tuple[float, float], AfterValidator(_half_open)] = (0.9, 0.999)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=1.0, gt=0)  # norm of the gradient


class Checkpoints(Section):
    every: Positive = 250  # steps; the published 80B run's
    keep: Positive = 3  # the latest so many
    trained_only: bool = False  # leaves out the weights that are frozen: they come from where they came from
    local: str | None = None  # a folder on each machine's own disk that is written to first, and copied from


class Guard(Section):
    """What is done when a step's figures are no numbers, or stand out; its documents are named in any case."""

    non_finite: Literal["stop", "skip", "rollback"] = "stop"  # such an update is never made
    spike: Literal["note", "stop", "skip", "rollback"] = "note"
    deviations: float = Field(default=8.0, gt=0)  # a loss or gradient so many standard deviations over its mean spikes
    memory: Positive = 100  # steps over which mean and deviation are taken
    patience: int = Field(default=50, ge=2)  # steps before any is judged
    most: Positive = 5  # after so many that were skipped or rolled back within `memory` steps the training stops
    step_seconds: float | None = Field(default=1800, gt=0)  # a step of more is taken for hung: stacks, then the end


class Sight(Section):
    every: Positive = 10  # steps between two lines on the terminal, and between readings of gates and memory
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()  # beside `train.jsonl`
    peak_teraflops: float | None = Field(default=None, gt=0)  # of one GPU, dense, where its name is not known


class Loss(Section):
    z_loss: float = Field(default=1e-3, ge=0)  # weight of the mean squared log-partition; model card of IDEFICS
    fake_token: bool = True  # whether the token around images is learned, as in the published run; `<image>` never is
    chunk: Positive = 2048  # tokens whose logits are held at a time


class Sample(Section):
    """What is generated once the training is over, from a document's beginning with its first image."""

    prompt_tokens: int = Field(default=32, ge=0)  # text kept before the image
    new_tokens: Positive = 32


# Prefix and example of the evaluation of m4, whose models IDEFICS are; `{image}` is where the image stands.
_PROMPTS = {
    "vqa": (
        "Instruction: provide an answer to the question. Use the image to answer.\n",
        "Image:{image}Question: {question} Answer: {answer}\n",
    ),
    "caption": (
        "Instruction: provide a short caption of the input image.\n",
        "Image:{image}Image description: {answer}\n",
    ),
}
_STOP = tuple("Question User Image task What Who When Where Why How".split())  # of the same


class FewShot(Section):
    """A small set of questions or captions on which the exported model is asked in context: JSON lines or Parquet with an
    image (a path beside the set, or bytes), answers of people (captions are answers, too) and, for VQA, a question."""

    name: str = Field(pattern=r"^[\w.-]+$")
    task: Literal["vqa", "caption"]
    path: str
    support: str | None = None  # a set of the same form from which examples are drawn; none: the others of this one
    image: str = "image"  # columns
    question: str = "question"
    answers: str = "answers"
    shots: list[Annotated[int, Field(ge=0)]] = Field(default=[0, 4, 8], min_length=1)
    items: Positive | None = None  # the first so many; none: all
    seed: int = Field(default=0, ge=0, lt=2**32)  # of the examples, the same for every model
    beams: Positive = 3  # as Flamingo and IDEFICS are evaluated
    new_tokens: Positive = 20
    batch_size: Positive = 8
    prefix: str = Field(default_factory=lambda given: _PROMPTS.get(given.get("task", ""), ("", ""))[0])
    example: str = Field(default_factory=lambda given: _PROMPTS.get(given.get("task", ""), ("", ""))[1])
    stop: tuple[str, ...] = _STOP  # an answer ends where one of these begins

    @model_validator(mode="after")
    def _template(self) -> Self:
        try:
            found = [name for _, name, _, _ in Formatter().parse(self.example) if name is not None]
        except ValueError as error:
            raise ValueError(f"example: {error}") from None
        expected = ["image", "question", "answer"] if self.task == "vqa" else ["image", "answer"]
        if sorted(found) != sorted(expected) or found[-1] != "answer" or "{image}" not in self.example:
            wanted = ", ".join(f"{{{name}}}" for name in expected)
            raise ValueError(f"example: expected {wanted} once each and {{answer}} last, found {self.example!r}")
        return self


class Validation(Section):
    """Loss on held-out documents, what images contribute to it, and few-shot tasks on the exported model."""

    split: str = Field(default="validation", pattern=r"^\w+$")  # of each of training's sources that has it
    sources: tuple[Source, ...] = ()  # or these
    every: Positive | None = None  # steps; none: only after the last
    documents: Positive = 512  # the first so many of each source
    ablation: bool = True  # again without images, and with those of others
    few_shot: list[FewShot] = Field(default=[])


class TrainConfig(Section):
    data: Data
    output: str  # folder of the log, the checkpoints and, at the end, the model
    tokenizer: Tokenizer = Tokenizer()
    packing: Packing
    images: Images = Images()
    model: Model
    optimizer: Optimizer = Optimizer()
    loss: Loss = Loss()
    parallel: Parallel = Parallel()
    checkpoints: Checkpoints = Checkpoints()
    guard: Guard = Guard()
    sight: Sight = Sight()
    validation: Validation = Validation()
    sample: Sample = Sample()
    plan: Plan = Plan()
    steps: Positive
    batch_size: Positive  # sequences a step, over all GPUs
    micro_batch: Positive | None = None  # sequences at once on a GPU; none: all of a step's that fall to it
    seed: int = Field(default=0, ge=0, lt=2**32)
    threads: Positive | None = None  # of torch; none: as many as it finds cores

    @model_validator(mode="after")
    def _fits(self) -> Self:
        longest = self.model.max_position_embeddings
        if self.packing.tokens > longest:
            raise ValueError(f"packing.tokens {self.packing.tokens} is over model.max_position_embeddings {longest}")
        if self.sample.prompt_tokens + self.sample.new_tokens + 4 > longest:
            raise ValueError(f"sample: prompt and new tokens are over model.max_position_embeddings {longest}")
        return self


def load(path: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Reads a training configuration, with `a.b=c` overrides.

    Raises:
        UserError: file, key, value found and what was expected.
    """
    return validate(TrainConfig, read_yaml(path, overrides), path)


def _divisible(name: str, value: int, by: str, divisor: int) -> None:
    if value % divisor:
        raise ValueError(f"{name} {value} must be a multiple of {by} {divisor}")
