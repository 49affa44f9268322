"""The words of the arena, one per concept. The README glossary is checked against this module."""

from enum import StrEnum


class Domain(StrEnum):
    """Where a prompt lies relative to what the checkpoint was trained for."""

    IN_DOMAIN = "in_domain"
    OUT_OF_DOMAIN = "out_of_domain"


class Side(StrEnum):
    """The place of a text on the screen or in a judge's prompt. Never stored as a winner."""

    A = "a"
    B = "b"


class Choice(StrEnum):
    """What a voter picked, in screen words."""

    A = "a"
    B = "b"
    TIE = "tie"
    BOTH_BAD = "both_bad"


class Order(StrEnum):
    """Which response of the pair is shown as A."""

    FIRST_IS_A = "first_is_a"
    SECOND_IS_A = "second_is_a"


class Outcome(StrEnum):
    """Which response of the pair won, in storage words. Computed from choice + order, never typed in."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"


class VoterKind(StrEnum):
    """Who votes: a person, a model with a rubric, or the script that votes on canary pairs."""

    RATER = "rater"
    JUDGE = "judge"
    SCRIPT = "script"
    """Votes on canary pairs through the whole real path, to see that no order is mixed up on it."""


class Role(StrEnum):
    """What an account may do."""

    ADMIN = "admin"
    RATER = "rater"


class TokenScope(StrEnum):
    """What a program may do with an API token, at most what its account may."""

    VOTE = "vote"
    RESULTS = "results"
    METRICS = "metrics"
    COMPLETE = "complete"
    """Ask checkpoints that `./arena checkpoints serve` serves."""


class ReasonTag(StrEnum):
    """Why a rater preferred a text, in words that fit either side."""

    ON_PROMPT = "on_prompt"
    CORRECT = "correct"
    CLEAR = "clear"
    DEEP = "deep"
    ORIGINAL = "original"
    STYLE = "style"


class CheckpointKind(StrEnum):
    """What can answer: the bare base, an adapter on it, somebody else's texts, or texts written as a control."""

    BASE = "base"
    ADAPTER = "adapter"
    EXTERNAL = "external"
    CONTROL = "control"
    """Names the worse and the better text of gold and canary pairs; never a competitor."""


class BaseModelState(StrEnum):
    """Whether the weights of a base model are on this machine."""

    WAITING = "waiting"
    READY = "ready"
    FAILED = "failed"


class BaseModelSource(StrEnum):
    """Where the weights of a base model come from."""

    BUILT_IN = "built_in"
    HUB = "hub"
    LOCAL = "local"


class IntakeState(StrEnum):
    """How far an uploaded checkpoint is."""

    WAITING = "waiting"
    CHECKING = "checking"
    READY = "ready"
    REFUSED = "refused"


class PackageKind(StrEnum):
    """In which form a checkpoint leaves the arena."""

    ADAPTER = "adapter"
    """As peft reads it."""
    MERGED = "merged"
    """Base and adapter as one full model."""
    GGUF = "gguf"
    """The adapter as llama.cpp reads it."""


class NumberFormat(StrEnum):
    """How a weight is written."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Keep(StrEnum):
    """Which checkpoint of a run a clean-up leaves, beside those that a result depends on."""

    BEST = "best"
    """The one with the lowest validation loss; of a run that measured none, the last."""
    LAST = "last"


class RunKind(StrEnum):
    """How a run learns: from conversations or from preferences."""

    SFT = "sft"
    DPO = "dpo"


class Split(StrEnum):
    """Which file a loss was measured on."""

    TRAIN = "train"
    VALIDATION = "validation"


class LineKind(StrEnum):
    """What a line of a run's log is: how it goes, or something to look at."""

    TOLD = "told"
    WARNING = "warning"


class Axis(StrEnum):
    """What the curves of runs are drawn over."""

    STEPS = "steps"
    TOKENS = "tokens"


class Design(StrEnum):
    """Who meets whom in an eval batch."""

    STAR = "star"
    ROUND_ROBIN = "round_robin"


class BatchState(StrEnum):
    """Life of an eval batch. Voting is possible from the first pair on, while it still generates."""

    OPEN = "open"
    IMPORTING = "importing"
    """Its verdicts were cast elsewhere and are still being read in; it never takes votes, and closes when all are."""
    CLOSED = "closed"


class Reveal(StrEnum):
    """When voters learn which checkpoint wrote which text."""

    AT_CLOSE = "at_close"
    NEVER = "never"


class PairKind(StrEnum):
    """Why a pair exists. Only ``main`` pairs enter n."""

    MAIN = "main"
    PLACEBO = "placebo"
    CANARY = "canary"
    GOLD = "gold"


class Settled(StrEnum):
    """Why a pair has an outcome without a voter."""

    IDENTICAL = "identical"
    EMPTY_FIRST = "empty_first"
    EMPTY_SECOND = "empty_second"
    BOTH_EMPTY = "both_empty"


class BallotState(StrEnum):
    """Life of one showing. ``open`` and ``voted`` hold a slot of the pair, the others free it."""

    OPEN = "open"
    VOTED = "voted"
    SKIPPED = "skipped"
    RETRACTED = "retracted"
    EXPIRED = "expired"
    UNPARSED = "unparsed"
    """A judge's: no reply to it held a legal choice, and none will be asked for again."""


class FinishReason(StrEnum):
    """Why a response ended: the model stopped, or the limit of new tokens cut it."""

    STOP = "stop"
    LENGTH = "length"
    UNKNOWN = "unknown"
    """Nobody told: it was imported, or a server ended it for a reason of its own."""


class JobState(StrEnum):
    """Life of one piece of background work."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobKind(StrEnum):
    """What a job does."""

    FETCH_BASE_MODEL = "fetch_base_model"
    TRAIN = "train"
    GENERATE = "generate"
    JUDGE = "judge"
    SNAPSHOT = "snapshot"
    INTAKE = "intake"
    """Checks an uploaded checkpoint before anything else may touch it."""
    PERPLEXITY = "perplexity"
    """Measures the loss of checkpoints on a file of a dataset."""
    PACKAGE = "package"
    """Makes a checkpoint ready to be taken elsewhere."""
    TRIAL = "trial"
    """Puts one prompt to some checkpoints on the playground."""


class Queue(StrEnum):
    """``gpu`` runs one job at a time; ``io`` never waits for it."""

    GPU = "gpu"
    IO = "io"


class ProviderKind(StrEnum):
    """How a judge's model is reached: Anthropic's own API, any server that speaks chat completions, or not at all."""

    ANTHROPIC = "anthropic"
    OPENAI_COMPATIBLE = "openai_compatible"
    IMPORTED = "imported"
    """Not reached at all: what it said was imported, and it can be asked nothing."""


class Confidence(StrEnum):
    """How sure a judge says it is. Words, because no provider can enforce a number's range, and none means it."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class StopReason(StrEnum):
    """Why a judge's reply ended; the provider's own word stays in the raw reply."""

    END = "end"
    LENGTH = "length"
    REFUSAL = "refusal"
    OTHER = "other"


class UnparsedReason(StrEnum):
    """Why a judge's reply holds no legal choice."""

    EMPTY = "empty"
    REFUSED = "refused"
    SCHEMA = "schema"
    TRUNCATED = "truncated"


class Trouble(StrEnum):
    """Why a call to a provider brought no reply."""

    MISSING_KEY = "missing_key"
    WRONG_KEY = "wrong_key"
    EMPTY_BALANCE = "empty_balance"
    RETIRED_MODEL = "retired_model"
    BAD_REQUEST = "bad_request"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_FAULT = "server_fault"
    NO_NETWORK = "no_network"
    CAP_REACHED = "cap_reached"
    LOST_REPLY = "lost_reply"
    """The request went out and no usable answer came back: nobody knows whether it was paid for."""


class SwapMode(StrEnum):
    """In which orders a judge sees a pair."""

    BOTH = "both"
    """Always both."""
    DECISIVE = "decisive"
    """The second order only where the first was no tie: half the cost where a judge is torn, the same bias measured."""
    ONE = "one"
    """One order a pair, as many published judges were asked: every verdict counts, and nothing takes the place out."""


class JudgingState(StrEnum):
    """How far a judge is with an eval batch."""

    RUNNING = "running"
    STOPPED = "stopped"
    """By a person, by its cap or by trouble; it can be resumed."""
    DONE = "done"


class CallState(StrEnum):
    """What became of one call to a judge's model. A pair in one order may take several."""

    SENT = "sent"
    VERDICT = "verdict"
    UNPARSED = "unparsed"
    FAILED = "failed"
    """No reply and nothing paid."""
    UNKNOWN = "unknown"
    """The reply was lost: nobody knows whether it was paid for."""
