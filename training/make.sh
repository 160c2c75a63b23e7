#!/bin/sh
# Reproduces the miniature's weights from nothing, on one CPU core in about an hour and a half. Resumable: run it again.
set -eu
cd "$(dirname "$0")"
export PYTHONPATH=".."
weights="../wan_core/engine/miniature"
mkdir -p runs
[ -f runs/vae/codec.pt ] || python vae.py --minutes 15 --rate 2e-3
python vae.py --minutes 8 --rate 1.5e-3 --seed 20 --decoder-only --out "$weights/vae.safetensors"
python text.py --minutes 4 --out "$weights/text_encoder.safetensors"
python dit.py low --minutes 60 --rate 3e-4 --batch 6 --sizes 160x96,208x128,128x128 --out "$weights/transformer_2.safetensors"
python dit.py high --out "$weights/transformer.safetensors"
