"""Floor 4: verbs put in order by a study file."""
