"""Load Wan 2.2 pipelines and sample frames. Imports torch."""
