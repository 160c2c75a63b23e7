#!/bin/sh
# Reproduces the miniature's weights from nothing on one CPU core. Run it again after an interruption: it goes on.
set -eu
cd "$(dirname "$0")"
export PYTHONPATH=".."
weights="${1:-../wan_core/engine/miniature}"
python vae.py --out "$weights/vae.safetensors"
python text.py --out "$weights/text_encoder.safetensors"
python dit.py low --batch 6 --sizes 160x96,208x128,128x128 --out "$weights/transformer_2.safetensors"
python dit.py high --out "$weights/transformer.safetensors"
