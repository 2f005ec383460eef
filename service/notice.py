"""What stands on every page and in every answer."""

RESEARCH = "Research use only. Not a medical device."
