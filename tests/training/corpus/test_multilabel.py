import pytest

from signals.tasks import TASKS
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled


def test_a_task_of_several_classes_a_window_is_refused_and_not_trained_as_one_of_one(toy_shards):
    with pytest.raises(ValueError, match="several classes a window"):
        labelled(Corpus.open(toy_shards), TASKS["ecg-superclass"])
