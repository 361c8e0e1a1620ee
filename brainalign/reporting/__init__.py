"""Floor 5: results as a person looks at them."""
