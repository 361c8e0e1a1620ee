"""Floor 2: what a model, or a dull rule, makes of the stimuli."""
