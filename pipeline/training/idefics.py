"""A batch in; hidden states of IDEFICS out, as fast as the modules allow. Names and weights are transformers'.

What differs from `IdeficsForVisionText2Text`, whose numbers these are: only images that are there are encoded, in one
flat list; the perceiver attends by SDPA; keys and values of the cross-attention are made from the flat list, too;
masks and rotations are made once a batch; there is no cache, and nothing that waits for the device.
"""

import functools
from typing import Any

import torch
from torch.nn.functional import layer_norm, rms_norm, scaled_dot_product_attention
from transformers import IdeficsConfig, IdeficsForVisionText2Text
from transformers.models.idefics.image_processing_pil_idefics import IDEFICS_STANDARD_MEAN, IDEFICS_STANDARD_STD
from transformers.models.idefics.modeling_idefics import (
    IdeficsDecoderLayer,
    IdeficsDecoupledEmbedding,
    IdeficsGatedCrossAttentionLayer,
    rotate_half,
)
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

from pipeline.training.batch import Batch
from pipeline.training.config import Model
from pipeline.training.tokenizer import Vocabulary
from pipeline.training.trained import Trained, as_bias, autocast, dense, look_up, normalise, pictures, self_attention


class DecoderLayer(IdeficsDecoderLayer):  # type: ignore[misc]
    """With `rotation` the training pass over hidden states [B, L, D], else transformers' own."""

    def forward(self, hidden: Any, *others: Any, rotation: Any = None, mask: Any = None, **named: Any) -> Any:
        """`rotation`: cosine and sine, each [B, 1, L, D / heads]; `mask`: what is added to scores, [B, 1, L, L]."""
        if rotation is None:
            return super().forward(hidden, *others, **named)
        attention, normed = self.self_attn, _rms(self.input_layernorm, hidden)
        query, key, value = (
            _heads(dense(layer, normed), attention.head_dim)
            for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        cosine, sine = rotation
        query = query * cosine + rotate_half(query) * sine
        key = key * cosine + rotate_half(key) * sine
        seen = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        hidden = hidden + dense(attention.o_proj, _joined(seen))
        return hidden + _mlp(self.mlp, _rms(self.post_attention_layernorm, hidden))


class GatedCrossAttention(IdeficsGatedCrossAttentionLayer):  # type: ignore[misc]
    """With `latents` the training pass over hidden states [B, L, D], else transformers' own."""

    def forward(
        self,
        hidden: Any,
        *others: Any,
        latents: Any = None,
        places: Any = None,
        mask: Any = None,
        sees: Any = None,
        **named: Any,
    ) -> Any:
        """`latents` [R, n, E] of R images; `places` [R]: where among the B * N places of all sequences each stands;
        `mask` [B, 1, L, N * n]: what is added to scores; `sees` [B, L, 1]: whether a token attends any image.
        """
        if latents is None:
            return super().forward(hidden, *others, **named)
        attention, normed = self.cross_attn, _rms(self.input_layernorm, hidden)
        query = _heads(dense(attention.q_proj, normed), attention.head_dim)
        # Projected by image, then put in their places: padding costs no multiplication.
        key, value = (
            _heads(_placed(dense(layer, latents), places, mask), attention.head_dim)
            for layer in (attention.k_proj, attention.v_proj)
        )
        if attention.qk_layer_norms:
            query, key = _rms(attention.q_layer_norm, query), _rms(attention.k_layer_norm, key)
        seen = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        # A token before the first image attends the first place, whatever is there, and hears nothing of it.
        heard = dense(attention.o_proj, _joined(seen)).masked_fill(~sees, 0.0)
        hidden = hidden + self.alpha_cross_attn.tanh().to(hidden.dtype) * heard
        thought = _mlp(self.mlp, _rms(self.post_attention_layernorm, hidden))
        return hidden + self.alpha_dense.tanh().to(hidden.dtype) * thought


class Words(IdeficsDecoupledEmbedding):  # type: ignore[misc]
    """Embeddings of two tables; transformers' way finds the second's ids by `nonzero`, which waits for the device."""

    def forward(self, ids: Any) -> Any:
        return look_up(ids, (self.weight, self.additional_embedding.weight), self.weight.dtype)


class Resampler(IdeficsPerceiverResampler):  # type: ignore[misc]
    """The perceiver by SDPA: what the vision encoder gives, [R, patches and class, E], to latents [R, n, E]."""

    def forward(self, context: Any) -> Any:
        latents = self.latents.to(context.dtype).expand(len(context), -1, -1)
        for attention, mlp in self.blocks:
            own = _ln(attention.latents_layer_norm, latents)
            both = torch.cat([_ln(attention.context_layer_norm, context), own], dim=1)
            query, key, value = (
                _heads(dense(layer, states), attention.head_dim)
                for layer, states in ((attention.q_proj, own), (attention.k_proj, both), (attention.v_proj, both))
            )
            if attention.qk_layer_norms:
                query, key = _ln(attention.q_layer_norm, query), _ln(attention.k_layer_norm, key)
            latents = latents + dense(attention.output_proj, _joined(scaled_dot_product_attention(query, key, value)))
            latents = latents + dense(mlp.c_proj, dense(mlp.fc, _ln(mlp.ln, latents)).relu())
        return _ln(self.layer_norm, latents)


class IdeficsForTraining(Trained, IdeficsForVisionText2Text):  # type: ignore[misc]
    """`IdeficsForVisionText2Text` with the training pass beside its own."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        # The modules are what transformers made of the configuration; only what they do with a batch is ours.
        self.model.embed_tokens.__class__ = Words
        self.model.perceiver_resampler.__class__ = Resampler
        for layer in self.model.layers:
            layer.__class__ = DecoderLayer
        for layer in self.model.gated_cross_attn_layers:
            layer.__class__ = GatedCrossAttention

    @functools.wraps(IdeficsForVisionText2Text.forward)
    def forward(self, *inputs: Any, **named: Any) -> Any:
        if inputs and isinstance(inputs[0], Batch):
            return self.losses(*inputs)
        return super().forward(*inputs, **named)

    def units(self) -> list[Any]:
        model = self.model
        return [
            *model.vision_model.encoder.layers,
            model.perceiver_resampler,
            *model.gated_cross_attn_layers,
            *model.layers,
        ]

    def head(self) -> tuple[Any, ...]:
        return self.lm_head.weight, self.lm_head.additional_fc.weight

    def hidden_states(self, batch: Batch) -> Any:
        model, compute = self.model, self.compute
        latents = model.perceiver_resampler(self.encode(pictures(batch)))
        places = batch.slots[:, 0] * batch.places + batch.slots[:, 1]
        if not batch.images:
            places = places.new_zeros(1)
        hidden = model.embed_tokens(batch.input_ids).to(compute)
        own, rotation = self_attention(batch.document, compute), self.rotation(batch.position)
        attended = batch.image.clamp(min=0)[..., None] == torch.arange(batch.places, device=batch.image.device)
        image = {
            "latents": latents,
            "places": places,
            "mask": as_bias(attended.repeat_interleave(latents.shape[1], dim=-1)[:, None], compute),
            "sees": (batch.image >= 0)[..., None],
        }
        for number, layer in enumerate(model.layers):
            if number % model.cross_layer_interval == 0:
                hidden = model.gated_cross_attn_layers[number // model.cross_layer_interval](hidden, **image)
            hidden = layer(hidden, rotation=rotation, mask=own)
        return _rms(model.norm, hidden)

    def shown(self, ids: Any, pixels: Any, extent: Any) -> dict[str, Any]:
        is_image = ids == self.config.vocab_size + 1
        latest = is_image.cumsum(-1)[..., None] - 1 == torch.arange(len(pixels), device=ids.device)
        return {"pixel_values": self.normalised(pixels)[None], "image_attention_mask": latest.long()}

    def encode(self, pixels: Any) -> Any:
        """What the vision encoder makes of pictures, uint8 [R, H, W, 3]: [R, patches and class, width]."""
        vision = self.model.vision_model
        trained = any(parameter.requires_grad for parameter in vision.parameters())
        mixed = next(vision.parameters()).dtype != self.compute
        with (
            torch.set_grad_enabled(trained and torch.is_grad_enabled()),
            autocast(pixels.device, self.compute, mixed),
        ):
            embedded = vision.pre_layrnorm(vision.embeddings(self.normalised(pixels).to(self.compute)))
            return vision.encoder(inputs_embeds=embedded).last_hidden_state.to(self.compute)

    def normalised(self, pixels: Any) -> Any:
        """Pictures, uint8 [R, H, W, 3], with CLIP's mean and deviation: fp32 [R, 3, H, W]."""
        return normalise(pixels, IDEFICS_STANDARD_MEAN, IDEFICS_STANDARD_STD)

    def rotation(self, position: Any) -> Any:
        """Cosine and sine of the rotary embedding at positions [B, L], each [B, 1, L, D / heads]."""
        angles = position[:, None, :, None].float() * self.model.layers[0].self_attn.rotary_emb.inv_freq
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(self.compute), angles.sin().to(self.compute)


def configuration(model: Model, vocabulary: Vocabulary) -> Any:
    """The `IdeficsConfig` of these sizes."""
    vision, perceiver = model.vision, model.perceiver
    return IdeficsConfig(
        vocab_size=vocabulary.size,
        additional_vocab_size=len(vocabulary) - vocabulary.size,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        num_hidden_layers=model.num_hidden_layers,
        num_attention_heads=model.num_attention_heads,
        cross_layer_interval=model.cross_layer_interval,
        max_position_embeddings=model.max_position_embeddings,
        initializer_range=model.initializer_range,
        rms_norm_eps=model.rms_norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_theta},
        qk_layer_norms=True,
        freeze_lm_head=True,
        use_resampler=True,
        vision_config={**vision.model_dump(), "initializer_range": model.initializer_range},
        perceiver_config={
            "use_resampler": True,
            "resampler_n_latents": perceiver.n_latents,
            "resampler_depth": perceiver.depth,
            "resampler_n_heads": perceiver.n_heads,
            "resampler_head_dim": perceiver.head_dim,
            "qk_layer_norms_perceiver": True,
        },
        # Only SDPA takes a boolean mask for what it is: eager attention would add it to the scores.
        attn_implementation="sdpa",
        pad_token_id=vocabulary.pad,
        bos_token_id=vocabulary.bos,
        eos_token_id=vocabulary.eos,
    )


def spread(name: str, shape: Any, config: Any) -> float | None:
    """The deviation that m4 draws a new parameter with (mean zero; 0 for the gates); None for all that is not trained.

    transformers left that out and draws all from N(0, 0.02).
    """
    hidden, vision, depth = config.hidden_size, config.vision_config.embed_dim, 2 * config.num_hidden_layers
    if "alpha" in name:
        return 0.0  # the gates are closed: a new model is its language model
    if "additional" in name:
        return float(hidden**-0.5)
    if name.endswith("perceiver_resampler.latents"):
        return float(vision**-0.5)
    if "perceiver_resampler." in name or "gated_cross_attn_layers." in name:
        fan_in = vision if "perceiver_resampler" in name else shape[1]
        last = depth if "down_proj" in name or "c_proj" in name else 1
        return float((0.4 / (fan_in * last)) ** 0.5)
    return None


def _rms(norm: Any, states: Any) -> Any:
    return rms_norm(states, states.shape[-1:], norm.weight.to(states.dtype), norm.variance_epsilon)


def _ln(norm: Any, states: Any) -> Any:
    kind = states.dtype
    return layer_norm(states, states.shape[-1:], norm.weight.to(kind), norm.bias.to(kind), norm.eps)


def _mlp(mlp: Any, states: Any) -> Any:
    return dense(mlp.down_proj, mlp.act_fn(dense(mlp.gate_proj, states)) * dense(mlp.up_proj, states))


def _heads(states: Any, size: int) -> Any:
    """[B, L, heads * size] to [B, heads, L, size]."""
    return states.unflatten(-1, (-1, size)).transpose(1, 2)


def _joined(states: Any) -> Any:
    return states.transpose(1, 2).flatten(2)


def _placed(states: Any, places: Any, mask: Any) -> Any:
    """[R, n, D] into the N places of B sequences, zero where no image is: [B, N * n, D]; B and N * n are the mask's."""
    (_, latents, width), (batch, _, _, length) = states.shape, mask.shape
    empty = states.new_zeros(batch * length // latents, latents, width)
    return empty.index_copy(0, places, states).view(batch, length, width)
