"""What is remembered is exactly what would be made anew, and only for the same content."""

import torch
from diffusers import WanImageToVideoPipeline

from wan_core.engine.embedding_cache import Recent, cache_first_frames, prompt_embeds


def test_only_the_last_entries_are_kept() -> None:
    made: list[str] = []
    recent = Recent(entries=2)
    for key in "abacab":
        recent.get(key, lambda key=key: made.append(key) or torch.zeros(1))  # type: ignore[func-returns-value]
    assert made == ["a", "b", "c", "b"]


def test_a_remembered_prompt_is_the_pipelines_own(pipe: WanImageToVideoPipeline) -> None:
    with torch.no_grad():
        oracle, empty = pipe.encode_prompt("a cat", "", max_sequence_length=512)
    recent = Recent()
    for _ in range(2):
        assert torch.equal(prompt_embeds(pipe, recent, "a cat"), oracle)
        assert torch.equal(prompt_embeds(pipe, recent, ""), empty)


def test_a_remembered_first_frame_is_the_encoders_own(pipe: WanImageToVideoPipeline) -> None:
    video = torch.zeros(1, 3, 9, 32, 32)
    video[:, :, 0] = torch.rand(3, 32, 32)
    with torch.no_grad():
        oracle = pipe.vae.encode(video).latent_dist.mode()
        cache_first_frames(pipe.vae)
        for _ in range(2):
            assert torch.equal(pipe.vae.encode(video).latent_dist.mode(), oracle)


def test_another_picture_and_another_length_are_encoded_anew(pipe: WanImageToVideoPipeline) -> None:
    calls: list[int] = []
    pipe.vae.encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    cache_first_frames(pipe.vae)
    with torch.no_grad():
        for video in (torch.zeros(1, 3, 5, 16, 16), torch.ones(1, 3, 5, 16, 16), torch.zeros(1, 3, 9, 16, 16)):
            pipe.vae.encode(video)
    assert len(calls) == 2 + 2 + 3


def test_two_videos_with_the_same_first_and_another_last_frame_are_two_videos(pipe: WanImageToVideoPipeline) -> None:
    first, last = torch.rand(2, 3, 16, 16)
    plain, ending = torch.zeros(1, 3, 5, 16, 16), torch.zeros(1, 3, 5, 16, 16)
    plain[:, :, 0] = ending[:, :, 0] = first
    ending[:, :, -1] = last
    with torch.no_grad():
        oracles = [pipe.vae.encode(video).latent_dist.mode() for video in (plain, ending)]
        cache_first_frames(pipe.vae)
        for video, oracle in zip((plain, ending), oracles, strict=True):
            assert torch.equal(pipe.vae.encode(video).latent_dist.mode(), oracle)
    assert not torch.equal(*oracles)
