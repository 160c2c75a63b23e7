"""Prompt expansion (`expander`) by a local model (`local`) or a server (`server`)."""
