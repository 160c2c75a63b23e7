"""Checks of picture, prompt and finished frames (`checks`) by models of others (`models`)."""
