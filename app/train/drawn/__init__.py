"""Pictures to learn from, drawn here and normalised as uploads are."""
