"""The engine room: torch lives here. Loads Wan 2.2 pipelines and samples frames with them."""
