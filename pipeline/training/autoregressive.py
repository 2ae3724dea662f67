"""A batch in; hidden states of Idefics2 or Idefics3 out: the fully autoregressive families, whose images stand in the text.

Weights, names and layers are transformers'. What is ours is the way to them: pictures in one flat list, whose padding
is known and not searched for, their features put in the place of the `<image>` tokens, and documents kept apart.
"""

import functools
from typing import Any

import torch
from transformers import (
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
)

from pipeline.training.batch import Batch
from pipeline.training.config import Model
from pipeline.training.tokenizer import Vocabulary
from pipeline.training.trained import Trained, as_bias, autocast, look_up, normalise, pictures, self_attention

LANGUAGE = {"idefics2": "mistral", "idefics3": "llama"}  # transformers' model type of the part
HALF = (0.5, 0.5, 0.5)  # mean and deviation of SigLIP's pixels


class Autoregressive(Trained):
    """What Idefics2 and Idefics3 share."""

    model: Any
    config: Any
    lm_head: Any
    mixed: bool = False  # whether some weights are fp32 where all is computed in bf16

    def units(self) -> list[Any]:
        return [*self.model.vision_model.encoder.layers, *self.connectors(), *self.model.text_model.layers]

    def connectors(self) -> list[Any]:
        """The modules between vision encoder and text that are called whole."""
        raise NotImplementedError

    def features(self, pixels: Any, extent: Any) -> Any:
        """Pictures [R, 3, H, W] of which [R, 2] pixels are real, to what stands for them in the text, [R, n, D]."""
        raise NotImplementedError

    def head(self) -> tuple[Any, ...]:
        return (self.lm_head.weight,)

    def hidden_states(self, batch: Batch) -> Any:
        text, compute = self.model.text_model, self.compute
        pixels, extent = pictures(batch), batch.extent
        if not batch.images:
            extent = extent.new_full((1, 2), pixels.shape[1])
        with autocast(pixels.device, compute, self.mixed):
            features = self.features(self.normalised(pixels).to(compute), extent).to(compute).flatten(0, 1)
            words = look_up(batch.input_ids, (text.embed_tokens.weight,), compute)
            shown = batch.input_ids == self.config.image_token_id
            # Pictures come in the order of the text, each with as many `<image>` as it has features.
            order = (shown.flatten().cumsum(0) - 1).clamp(0, len(features) - 1)
            placed = features.index_select(0, order).view_as(words)
            return text(
                inputs_embeds=torch.where(shown[..., None], placed, words),
                attention_mask=self_attention(batch.document, compute),
                position_ids=batch.position,
                use_cache=False,
            ).last_hidden_state.to(compute)

    def shown(self, ids: Any, pixels: Any, extent: Any) -> dict[str, Any]:
        down, right = (torch.arange(size, device=ids.device) for size in pixels.shape[1:3])
        real = (down[:, None] < extent[:, 0, None, None]) & (right < extent[:, 1, None, None])
        # What is padding must be exactly zero: transformers finds it so.
        return {"pixel_values": (self.normalised(pixels) * real[:, None])[None], "pixel_attention_mask": real[None]}

    def normalised(self, pixels: Any) -> Any:
        """Pictures, uint8 [R, H, W, 3], with SigLIP's mean and deviation: fp32 [R, 3, H, W]."""
        return normalise(pixels, HALF, HALF)

    def encode(self, pixels: Any, whole: Any) -> Any:
        """What the vision encoder makes of pictures whose patches are `whole`, bool [R, h, w]: [R, h * w, width]."""
        vision = self.model.vision_model
        trained = any(parameter.requires_grad for parameter in vision.parameters())
        with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
            states = vision.embeddings(pixel_values=pixels, patch_attention_mask=whole)
            mask = as_bias(whole.flatten(1)[:, None, None], states.dtype).expand(-1, -1, states.shape[1], -1)
            states = vision.encoder(inputs_embeds=states, attention_mask=mask).last_hidden_state
            return vision.post_layernorm(states)


class Idefics2ForTraining(Autoregressive, Idefics2ForConditionalGeneration):  # type: ignore[misc]
    """`Idefics2ForConditionalGeneration` with a training pass beside its own."""

    @functools.wraps(Idefics2ForConditionalGeneration.forward)
    def forward(self, *inputs: Any, **named: Any) -> Any:
        if inputs and isinstance(inputs[0], Batch):
            return self.losses(*inputs)
        return super().forward(*inputs, **named)

    def connectors(self) -> list[Any]:
        connector = self.model.connector
        return [connector.modality_projection, *connector.perceiver_resampler.layers]

    def features(self, pixels: Any, extent: Any) -> Any:
        patch = self.config.vision_config.patch_size
        down, right = (
            torch.arange(patch, pixels.shape[axis] + 1, patch, device=pixels.device) <= extent[:, axis - 2, None]
            for axis in (2, 3)
        )
        whole = down[:, :, None] & right[:, None]  # a patch with any padding in it is not seen
        connector = self.model.connector
        context = connector.modality_projection(self.encode(pixels, whole))
        resampler = connector.perceiver_resampler
        latents = resampler.latents.to(context.dtype).expand(len(context), -1, -1)
        seen = torch.nn.functional.pad(whole.flatten(1), (0, latents.shape[1]), value=True)
        mask = as_bias(seen[:, None, None], context.dtype).expand(-1, -1, latents.shape[1], -1)
        for layer in resampler.layers:
            latents = layer(latents, context, attention_mask=mask)
        return resampler.norm(latents)


class Idefics3ForTraining(Autoregressive, Idefics3ForConditionalGeneration):  # type: ignore[misc]
    """`Idefics3ForConditionalGeneration` with a training pass beside its own."""

    @functools.wraps(Idefics3ForConditionalGeneration.forward)
    def forward(self, *inputs: Any, **named: Any) -> Any:
        if inputs and isinstance(inputs[0], Batch):
            return self.losses(*inputs)
        return super().forward(*inputs, **named)

    def connectors(self) -> list[Any]:
        return [self.model.connector]

    def features(self, pixels: Any, extent: Any) -> Any:
        patch = self.config.vision_config.patch_size
        down, right = (
            torch.arange(0, pixels.shape[axis] - patch + 1, patch, device=pixels.device) < extent[:, axis - 2, None]
            for axis in (2, 3)
        )
        return self.model.connector(self.encode(pixels, down[:, :, None] & right[:, None]))


def configuration(model: Model, vocabulary: Vocabulary) -> Any:
    """The `Idefics2Config` (Mistral, SigLIP) or `Idefics3Config` (Llama, SigLIP) of these sizes."""
    vision = model.vision.model_dump()
    text = {
        "model_type": LANGUAGE[model.family],
        "vocab_size": len(vocabulary),
        "hidden_size": model.hidden_size,
        "intermediate_size": model.intermediate_size,
        "num_hidden_layers": model.num_hidden_layers,
        "num_attention_heads": model.num_attention_heads,
        "num_key_value_heads": model.num_key_value_heads or model.num_attention_heads,
        "max_position_embeddings": model.max_position_embeddings,
        "initializer_range": model.initializer_range,
        "rms_norm_eps": model.rms_norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta, **(model.rope_scaling or {})},
        "pad_token_id": vocabulary.pad,
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
    }
    shared = {
        "text_config": text,
        "vision_config": {
            **{name: value for name, value in vision.items() if name != "embed_dim"},
            "hidden_size": vision["embed_dim"],
            "initializer_range": model.initializer_range,
        },
        "image_token_id": vocabulary.image,
        "attn_implementation": "sdpa",
    }
    if model.family != "idefics2":
        return Idefics3Config(**shared, scale_factor=model.scale_factor, pad_token_id=vocabulary.pad)
    perceiver = model.perceiver
    resampler = {
        "hidden_size": model.hidden_size,
        "rms_norm_eps": model.rms_norm_eps,
        "resampler_n_latents": perceiver.n_latents,
        "resampler_depth": perceiver.depth,
        "resampler_n_heads": perceiver.n_heads,
        "resampler_head_dim": perceiver.head_dim,
        "num_key_value_heads": perceiver.n_key_value_heads or perceiver.n_heads,
        "initializer_range": model.initializer_range,
    }
    return Idefics2Config(**shared, perceiver_config=resampler)
