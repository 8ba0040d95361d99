"""How many floating-point operations a training row needs, counted exactly and apart from how they are done.

A product of (m, k) with (k, n) is 2mkn operations. For a row of L real tokens, N of them targets, with an adapter of
rank r (padding counts nothing: it is waste):

    linear layers, forward       2 L P                 P: parameters of all linear layers of the blocks
    linear layers, backward      2 L (P - P0)          only towards the activations, the weights are frozen; P0: q, k, v
                                                       of the first block, whose input is the frozen embedding
    LoRA, forward                2 L r S               S: sum of d_in + d_out over the adapted layers
    LoRA, backward               4 L r S - 2 L r S0    towards A, B and both inputs; S0: d_in of those first q, k, v
    attention, forward           2 L (L + 1) W b       scores and values, causal: token t looks at t tokens;
                                                       W: heads x head size, b: blocks
    attention, backward          twice that
    lm_head                      4 N D V               forward and back to the hidden state, at the targets only

Norms, rotary embeddings, softmax, the loss and the optimizer count nothing. What an implementation computes beside
this (padding, full instead of causal attention, recomputed activations) lowers its share of the peak, as it should.
Not here: seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seal_memory.engines.batches import Row
from seal_memory.engines.local import TransformersEngine

_READ_THE_EMBEDDING = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True, slots=True)
class Geometry:
    """A model's sizes. `layers`: linear layer -> (d_out, d_in), the vocabulary's head not among them."""

    layers: dict[str, tuple[int, int]]
    blocks: int
    attention_width: int
    hidden: int
    vocabulary: int

    @property
    def linear_parameters(self) -> int:
        return sum(d_out * d_in for d_out, d_in in self.layers.values())


def geometry(engine: TransformersEngine) -> Geometry:
    """The sizes of the loaded model."""
    config = engine.model.config
    layers = {
        name.removesuffix(".weight"): (int(weight.shape[0]), int(weight.shape[1]))
        for name, weight in engine.stack.base_state_dict().items()
        if ".layers." in name and name.endswith(".weight") and weight.dim() == 2
    }
    heads = int(config.num_attention_heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    blocks, hidden, vocabulary = config.num_hidden_layers, config.hidden_size, config.vocab_size
    return Geometry(layers, int(blocks), heads * size, int(hidden), int(vocabulary))


def row_flops(model: Geometry, length: int, targets: int, *, rank: int, adapted: Sequence[str]) -> float:
    """Operations to train one row once, by the formula above; `adapted`: last parts of the adapted layers' names."""
    with_adapter = {n: s for n, s in model.layers.items() if n.rpartition(".")[2] in adapted}
    first = {n: s for n, s in model.layers.items() if _reads_the_embedding(n)}
    first_parameters = sum(d_out * d_in for d_out, d_in in first.values())
    both = sum(d_out + d_in for d_out, d_in in with_adapter.values())
    first_inputs = sum(s[1] for n, s in with_adapter.items() if n in first)
    linear = 2 * length * model.linear_parameters + 2 * length * (model.linear_parameters - first_parameters)
    lora = 6 * length * rank * both - 2 * length * rank * first_inputs
    attention = 3 * 2 * length * (length + 1) * model.attention_width * model.blocks
    head = 4 * targets * model.hidden * model.vocabulary
    return float(linear + lora + attention + head)


def step_flops(model: Geometry, rows: Sequence[Row], *, rank: int, adapted: Sequence[str]) -> float:
    """Operations to train some rows once."""
    return sum(row_flops(model, len(r.ids), _targets(r), rank=rank, adapted=adapted) for r in rows)


def _targets(row: Row) -> int:
    """Positions that the loss counts: the first token of a row is predicted by nothing."""
    return len(row.ids) - max(row.prompt_length, 1)


def _reads_the_embedding(name: str) -> bool:
    return ".layers.0." in name and name.rpartition(".")[2] in _READ_THE_EMBEDDING
