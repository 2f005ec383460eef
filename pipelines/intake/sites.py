"""Where a recording's site comes from: a rule that whoever starts a run declares.

Without a rule the site is a salted hash of what would have named it: recordings of one folder stay together, and a
folder that is named after a patient names nobody. A site card (`signals.sites`) brings its site's name with it.
"""

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, get_args

from signals.windows.labels import slug

HASHED = "site-"
"""What the id of a site begins with that nobody names."""
Source = Literal["hash", "folder", "bids", "label", "constant"]


class SiteRuleError(ValueError):
    """A rule that cannot be; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class SiteRule:
    """How sites are named."""

    source: Source = "hash"
    """"folder": the folder that the file lies in; "bids": participants.tsv or the data set's name; "label": the label
    file's column `site`; "constant": `name` for all; "hash": no rule was given. Where the source has no name for a
    file, its site is hashed."""
    name: str = ""
    salt: str = ""

    def site_id(self, path: str, *, card: str = "", dataset: str = "", labelled: str = "") -> str:
        """Return the site of a recording.

        `card` is the site of the card that speaks of it, `dataset` what BIDS calls its site, `labelled` what the label
        file does; each empty where there is none.
        """
        folder = PurePosixPath(path).parent.name
        declared = {"folder": slug(folder), "bids": slug(dataset) if dataset else "", "label": labelled}
        if self.source == "constant":
            return self.name
        if self.source == "label" and labelled:
            return labelled
        if card:
            return card
        return declared.get(self.source, "") or self._hashed(labelled or slug(dataset or folder))

    def _hashed(self, name: str) -> str:
        digest = hmac.new(self.salt.encode(), f"site/{name}".encode(), hashlib.sha256).hexdigest()
        return f"{HASHED}{digest[:10]}"


def site_rule(text: str | None, *, salt: str) -> SiteRule:
    """Return the rule that an option's text stands for; raises SiteRuleError for another text."""
    source, _, name = (text or "hash").partition(":")
    known = [known for known in get_args(Source) if known != "hash"]
    if text is not None and (source not in known or (name and source != "constant")):
        raise SiteRuleError(f"--site-from {text} is none of {', '.join(known)} or constant:NAME")
    if source == "constant" and name and slug(name) != name:
        raise SiteRuleError(f"--site-from {text}: a site's name is lower case letters, digits and single dashes")
    return SiteRule(source=source, name=name or "site", salt=salt)  # type: ignore[arg-type]
