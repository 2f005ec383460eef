"""Public sites whose files are laid out one folder a site: their mains frequency is a fact of the country."""

from pipelines.corpora.corpus import Corpus

PUBLIC = tuple(
    Corpus(site_id=site_id, pattern=f"*/{site_id}/*", mains_hz=mains_hz)
    for site_id, mains_hz in (
        ("albany-eegmmidb", 60.0),
        ("kyiv-eegmat", 50.0),
        ("boston-iiic-sparcnet", 60.0),
        ("bissau-emotiv", 50.0),
        ("tehran-adhd", 50.0),
        ("neonatal-stevenson", 50.0),
        ("sandiego-eeglab", 60.0),
        ("leipzig-lemon", 50.0),
        ("frankfurt-rest", 50.0),
        ("yasa-sleep", 60.0),
    )
)
