"""What this engine takes from libraries beyond their promises: a new version that changes it is named here first."""

import importlib
import json
from pathlib import Path

import pytest
from diffusers import WanImageToVideoPipeline
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.processors import TemplateProcessing
from transformers import T5TokenizerFast

from tests.engine.conftest import tiny_pipeline

PRIVATE = {
    "diffusers.hooks.group_offloading._GROUP_OFFLOADING": "a public way to remove group offloading's hooks",
    "diffusers.hooks.group_offloading._LAYER_EXECUTION_TRACKER": "a public way to remove group offloading's hooks",
    "diffusers.hooks.group_offloading._LAZY_PREFETCH_GROUP_OFFLOADING": "a public way to remove its hooks",
    "diffusers.hooks.first_block_cache.FBCHeadBlockHook": "what `benchmarks.forwards` forces skips with",
    "diffusers.models.attention_dispatch.attention_backend": "the context manager that fetches a kernel",
    "diffusers.models.attention_dispatch.dispatch_attention_fn": "one attention of a named backend",
    "diffusers.models.autoencoders.autoencoder_kl_wan.unpatchify": "the end of the VAE's decode()",
    "diffusers.pipelines.wan.pipeline_wan_i2v.prompt_clean": "how the pipeline cleans a prompt before reading it",
    "torch._dynamo.config.recompile_limit": "the limit of graphs a function",
    "torch.utils._python_dispatch.is_traceable_wrapper_subclass": "whether a weight is quantized by torchao",
}


@pytest.mark.parametrize("name", PRIVATE)
def test_each_private_name_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    try:
        found = hasattr(importlib.import_module(module), attribute)
    except ImportError:
        found = False
    assert found, f"{name} is gone; look for its replacement: {PRIVATE[name]}"


def test_wans_tokenizer_class_reads_the_ids_of_its_own_file(tmp_path: Path) -> None:
    """Wan's repository names `T5TokenizerFast`, which transformers 5 makes from the same `tokenizer.json`."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("\u2581a", -1.0), ("\u2581cat", -2.0), ("s", -3.0)]
    raw = Tokenizer(Unigram(pieces, unk_id=2))
    raw.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    from tokenizers.pre_tokenizers import Metaspace

    raw.pre_tokenizer = Metaspace()
    tiny_pipeline().save_pretrained(tmp_path)
    folder = tmp_path / "tokenizer"
    raw.save(str(folder / "tokenizer.json"))
    words = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "extra_ids": 0}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5TokenizerFast"} | words))
    for other in folder.glob("special_tokens_map.json"):
        other.unlink()
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["tokenizer"] = ["transformers", "T5TokenizerFast"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    read = WanImageToVideoPipeline.from_pretrained(tmp_path).tokenizer
    assert isinstance(read, T5TokenizerFast)
    for text in ("a cat", "a cats cat", "cat"):
        assert read(text).input_ids == raw.encode(text).ids
    padded = read("a cat", padding="max_length", max_length=6, truncation=True)
    assert padded.input_ids == [3, 4, 1, 0, 0, 0] and padded.attention_mask == [1, 1, 1, 0, 0, 0]
