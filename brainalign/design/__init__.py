"""Floor 2: from onsets to the rows of a regression."""
