"""Hostile texts, an analyst that obeys every one of them, and what the commander did all the same."""
