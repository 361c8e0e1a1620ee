"""Floor 2: how well features predict a brain on samples never seen."""
