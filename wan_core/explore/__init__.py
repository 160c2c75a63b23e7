"""Sweeps: axes → cells → requests, labels and cost; numbers of a clip; exports. No Gradio, no torch."""
