"""Sweeps: axes → cells → requests and cost; numbers of a clip; exports. No Gradio, no torch."""
