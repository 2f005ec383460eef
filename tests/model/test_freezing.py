import pytest

from model.classifier import new_classifier
from model.encoder import Encoder
from model.encoder_config import sized
from model.freezing import freeze_all_but_last, group_of
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import TASKS


def test_only_head_norm_and_last_blocks_move():
    encoder = Encoder(sized("tiny", dim=16, depth=3, n_heads=2, stem_dim=16))
    model = new_classifier(
        encoder, TASKS["eyes"], EEG_1020, Normaliser(kind="window"), dropout=0.0, profile={}, provenance={}
    )
    for n_blocks in (1, 2):
        freeze_all_but_last(model, n_blocks=n_blocks)
        moving = {name for name, p in model.named_parameters() if p.requires_grad}
        blocks = {name.split(".")[2] for name in moving if name.startswith("encoder.blocks.")}
        assert blocks == {str(i) for i in range(3 - n_blocks, 3)}
        assert {"encoder.norm.weight", "head.classes.weight"} < moving
        assert not any(name.startswith(("encoder.stem", "encoder.channel")) for name in moving)
        assert {name for name, _ in model.named_parameters() if group_of(name) == "head"} < moving
    with pytest.raises(ValueError, match="n_blocks=4 must be at least 0 and at most the encoder's 3"):
        freeze_all_but_last(model, n_blocks=4)
