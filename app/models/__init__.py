"""Tables: columns and constraints, no behaviour."""

from app.models.account import Account, ApiToken, EntryLink, Invite, Seat, SignIn
from app.models.ballot import Ballot
from app.models.base_model import BaseModel
from app.models.checkpoint import Checkpoint
from app.models.dataset import Dataset
from app.models.eval_batch import BatchCheckpoint, EvalBatch
from app.models.event import Event
from app.models.intake import Intake
from app.models.job import Job, Worker
from app.models.judge import Judge, JudgeCall, Judging
from app.models.package import Package
from app.models.pair import Pair, Tally
from app.models.perplexity import Perplexity
from app.models.response import Response
from app.models.run import Run, RunDataset, RunLine, RunMetric
from app.models.snapshot import Snapshot
from app.models.suite import Prompt, Suite
from app.models.trial import Trial
from app.models.types import Table
from app.models.verdict import Recognition, Verdict
from app.models.voter import Voter

__all__ = [
    "Account",
    "ApiToken",
    "Ballot",
    "BaseModel",
    "BatchCheckpoint",
    "Checkpoint",
    "Dataset",
    "EntryLink",
    "EvalBatch",
    "Event",
    "Intake",
    "Invite",
    "Job",
    "Judge",
    "JudgeCall",
    "Judging",
    "Package",
    "Pair",
    "Perplexity",
    "Prompt",
    "Recognition",
    "Response",
    "Run",
    "RunDataset",
    "RunLine",
    "RunMetric",
    "Seat",
    "SignIn",
    "Snapshot",
    "Suite",
    "Table",
    "Tally",
    "Trial",
    "Verdict",
    "Voter",
    "Worker",
]
