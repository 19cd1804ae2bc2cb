"""Losses, the training loop, evaluation, and what a run leaves behind."""

from mpno.training.errors import baseline, evaluate
from mpno.training.evaluation import evaluate_run, load_run
from mpno.training.loop import fit, train_run
from mpno.training.losses import relative_h1, relative_l2

__all__ = ["baseline", "evaluate", "evaluate_run", "fit", "load_run", "relative_h1", "relative_l2", "train_run"]
