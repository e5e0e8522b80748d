"""The keys of ``judge=…`` and of ``benchmark=judging``."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from loradrift.config import DataConfig
from loradrift.config.benchmarks import BenchmarkConfig
from loradrift.config.errors import UserError, check, check_positive

OPENAI_URL = "https://api.openai.com/v1"


@dataclass(kw_only=True)
class JudgeConfig:
    """Who scores the answers; ``oracle``, ``none`` and ``auto`` have these keys alone."""

    name: str = MISSING
    """``oracle`` (exact, of generated answers), ``classifier`` (offline, learned from judged
    answers), ``endpoint`` (a language model behind a URL) or ``none``. ``auto`` is the oracle with
    data=embedded, and the classifier with data=local."""

    traits: list[str] = field(default_factory=list)
    """Traits to score; an empty list is all that the judge knows."""

    def __post_init__(self) -> None:
        traits = self.traits
        check(len(set(traits)) == len(traits), "judge.traits", "different traits", traits)


@dataclass(kw_only=True)
class ClassifierConfig(JudgeConfig):
    """Logistic regressions, trained on the answers below ``<data.root>/persona/responses``."""

    tokens: int = 50
    """The first so many words and signs of an answer are read for its trait."""

    ridge: float = 0.15
    """Weight of the squared norm of a trait's weights, in units of one answer's loss."""

    folds: int = 5
    """Parts into which the questions are split: agreement is of answers to questions held out."""

    seed: int = 0
    """Draws the folds, the corrupted answers, and the resamples of the intervals."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "judge", "tokens", "ridge")
        check(self.folds >= 2, "judge.folds", "at least 2", self.folds)


@dataclass(kw_only=True)
class EndpointConfig(JudgeConfig):
    """A language model that is asked over HTTP as OpenAI's are: a server of vLLM, or a service."""

    model: str = ""
    """Its name there; it must be given."""

    base_url: str = OPENAI_URL
    """Address of the API. Of vLLM's server on this machine: ``http://localhost:8000/v1``."""

    key_variable: str | None = None
    """The environment variable that holds the key, which is read from there alone and never
    written. Null is ``OPENAI_API_KEY`` for OpenAI's own address, and no key for any other."""

    concurrency: int = 8
    """Requests in flight at a time."""

    retries: int = 6
    """How often a request is sent again that was refused for its rate (429), failed at the server
    (5xx) or took too long; the waits between double."""

    timeout_s: float = 60.0
    """Seconds that a reply may take."""

    top_logprobs: int = 20
    """Most likely tokens that are asked for, with their log-probabilities."""

    input_price: float | None = None
    """Price of a million tokens of the prompts, for the report of costs; null reports tokens."""

    output_price: float | None = None
    """Price of a million tokens of the replies."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.model.strip() != "", "judge.model", "the name of a model", repr(self.model))
        rule = "an address without a user, a key or a query: it is written into records"
        secret = "@" in self.base_url or "?" in self.base_url
        check(not secret, "judge.base_url", rule, "one with @ or ?")
        legal = self.base_url.startswith(("http://", "https://"))
        rule = "an address that begins with http:// or https://"
        check(legal, "judge.base_url", rule, self.base_url)
        check_positive(self, "judge", "concurrency", "timeout_s")
        check(self.retries >= 0, "judge.retries", "at least 0", self.retries)
        check(1 <= self.top_logprobs <= 20, "judge.top_logprobs", "between 1 and 20",
              self.top_logprobs)  # fmt: skip
        prices = self.input_price, self.output_price
        for key, price in zip(("input_price", "output_price"), prices, strict=True):
            check(price is None or price >= 0, f"judge.{key}", "at least 0, or null", price)
        if (prices[0] is None) != (prices[1] is None):
            raise UserError("judge.input_price and judge.output_price must be given together")


@dataclass(kw_only=True)
class JudgingBenchmarkConfig(BenchmarkConfig):
    """Score the answers of all steering cells below ``runs`` again, with another judge."""

    benchmark: str = "judging"
    engine: str = "hf"
    judge: JudgeConfig = MISSING


def resolve_judge(judge: JudgeConfig, data: DataConfig) -> JudgeConfig:
    """The judge itself where ``judge=auto`` leaves the choice to the source of the answers.

    Raises:
        UserError: If that source has no judge.
    """
    if judge.name != "auto":
        return judge
    if data.name == "embedded":
        return JudgeConfig(name="oracle", traits=judge.traits)
    if data.name == "local":
        return ClassifierConfig(name="classifier", traits=judge.traits)
    raise UserError(f"data={data.name} has no personas: data=embedded or data=local has them")
