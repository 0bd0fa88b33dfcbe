"""Pictures of every view of the page, in all sizes, languages and themes."""
