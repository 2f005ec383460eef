"""Entry into transformers' own registry: after `register`, AutoConfig and AutoModel load our folders by path."""

from transformers import AutoConfig, AutoModel

from model.classifier import Classifier, ClassifierConfig
from model.encoder import Encoder
from model.encoder_config import EncoderConfig


def register() -> None:
    """Make AutoConfig and AutoModel know encoder and classifier; asking twice changes nothing."""
    for config, model in ((EncoderConfig, Encoder), (ClassifierConfig, Classifier)):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, model, exist_ok=True)
