"""Sites of which nothing is known but where they are: their mains frequency is a fact of the country."""

from pipelines.corpora.corpus import Corpus

CORPORA = tuple(
    Corpus(site_id=site_id, pattern=f"*/{site_id}/*", mains_hz=mains_hz)
    for site_id, mains_hz in (
        ("neonatal-stevenson", 50.0),
        ("sandiego-eeglab", 60.0),
        ("leipzig-lemon", 50.0),
        ("frankfurt-rest", 50.0),
        ("yasa-sleep", 60.0),
    )
)
