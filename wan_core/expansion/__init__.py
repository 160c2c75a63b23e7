"""Prompts rewritten for motion by a language model, here (`local`) or elsewhere (`server`); see `expander`."""
