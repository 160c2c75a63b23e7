#!/bin/sh
# Reproduces the miniature's weights from nothing on one CPU core. Run it again after an interruption: it goes on.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
weights="$(cd "${1:-$here/../wan_core/engine/miniature}" && pwd)"
cd "$here/.."
python -m training.vae --out "$weights/vae.safetensors"
python -m training.text_encoder --out "$weights/text_encoder.safetensors"
python -m training.dit low --batch 6 --sizes 160x96,208x128,128x128 --out "$weights/transformer_2.safetensors"
python -m training.dit high --out "$weights/transformer.safetensors"
