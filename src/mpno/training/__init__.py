"""Losses, the training loop, evaluation, and what a run leaves behind."""

from mpno.training.errors import baseline, evaluate
from mpno.training.evaluation import evaluate_run
from mpno.training.finished import FinishedRun, load_run
from mpno.training.loop import fit, train_run
from mpno.training.losses import relative_h1, relative_l2
from mpno.training.prediction import predict_run

__all__ = [
    "FinishedRun",
    "baseline",
    "evaluate",
    "evaluate_run",
    "fit",
    "load_run",
    "predict_run",
    "relative_h1",
    "relative_l2",
    "train_run",
]
