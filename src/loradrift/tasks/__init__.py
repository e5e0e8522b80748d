"""LightningModules: what is learned, never how the backbone was made trainable."""

from loradrift.tasks.base import Task
from loradrift.tasks.classification import ClassificationTask
from loradrift.tasks.language_modeling import LanguageModelingTask
from loradrift.tasks.question_answering import QuestionAnsweringTask, shares
from loradrift.tasks.zero_shot import Answered, answer_log_likelihoods

__all__ = [
    "Answered",
    "ClassificationTask",
    "LanguageModelingTask",
    "QuestionAnsweringTask",
    "Task",
    "answer_log_likelihoods",
    "shares",
]
