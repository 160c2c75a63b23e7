"""Safety checks (`checks`) and their models (`models`)."""
