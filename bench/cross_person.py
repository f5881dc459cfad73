"""A training step of the cross-person memory transformer: as it is, against a loop over people and windows.

Target: with 3 people and d = 128 at least 1.5 times as fast as the same network person by person and window by window,
with the same answers and gradients (1e-5). On a CPU this holds up to a few thousand tokens a step (all recordings,
windows and people together); beyond, both sides do little but multiply the same matrices. ``--short`` leaves out the
largest.
"""

from __future__ import annotations

import sys

import torch
from torch import nn
from torch.nn import functional as F

from bench.common import median_of_rounds, show
from nbpkg.models.people.cross_person.blocks import Encoder, Layer
from nbpkg.models.people.cross_person.conversations import Conversations
from nbpkg.models.people.cross_person.memory_transformer import CrossPersonMemoryTransformer
from nbpkg.models.people.cross_person.options import MemoryTransformerOptions

PEOPLE, CLASSES, WINDOWS = 3, 3, 4
# Features and tokens per window of each modality.
SIZES = {
    "small": {"audio": (8, 10), "pose": (8, 5), "video": (8, 5)},
    "half": {"audio": (32, 25), "pose": (51, 10), "video": (128, 10)},
    "full": {"audio": (32, 125), "pose": (51, 40), "video": (2048, 40)},  # 5 s at 25, 8 and 8 per second
}


def attend(layer: Layer, query: torch.Tensor, context: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Attention by torch's own function; rows that see nothing get 0."""
    some = seen.any(dim=1)
    mixed, _ = F.multi_head_attention_forward(
        query.transpose(0, 1),
        context.transpose(0, 1),
        context.transpose(0, 1),
        query.shape[-1],
        layer.attn.heads,
        layer.attn.in_proj_weight,
        layer.attn.in_proj_bias,
        None,
        None,
        False,
        0.0,
        layer.attn.out_proj.weight,
        layer.attn.out_proj.bias,
        key_padding_mask=~seen & some[:, None],
        need_weights=False,
    )
    return mixed.transpose(0, 1) * some[:, None, None]


def encode(encoder: Encoder, query: torch.Tensor, context: torch.Tensor | None, seen: torch.Tensor) -> torch.Tensor:
    """Run all layers of an encoder."""
    for layer in encoder.layers:
        normed = layer.norm_q(query)
        query = query + layer.drop(attend(layer, normed, normed if context is None else layer.norm_kv(context), seen))
        query = query + layer.drop(layer.ff2(layer.drop(F.gelu(layer.ff1(layer.norm_f(query))))))
    return encoder.norm(query)


def positions(length: int, width: int) -> torch.Tensor:
    """Sines at even, cosines at odd places."""
    codes = torch.zeros(length, width)
    angles = torch.arange(length)[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
    codes[:, 0::2], codes[:, 1::2] = angles.sin(), angles.cos()
    return codes


def inform(network: CrossPersonMemoryTransformer, batch: Conversations, window: int, person: int) -> torch.Tensor:
    """Tokens of one person in one window, each modality informed by the others."""
    embedded = {}
    for name in network.modalities:
        values = batch.tokens[name][:, window, person]
        values = torch.where(batch.valid[name][:, window, person, :, None], values, 0.0)
        codes = positions(values.shape[1], network.options.width).to(values)
        role = network.role_embed(batch.roles[:, person])[:, None]
        embedded[name] = network.proj[name](values) + codes + network.mod_embed[name] + role
    informed = []
    for own in network.modalities:
        found = []
        for other in network.modalities:
            key = f"{own}__{other}"
            if key in network.cm:
                seen = batch.valid[other][:, window, person]
                found.append(encode(network.cm[key], embedded[own], None if own == other else embedded[other], seen))
        informed.append(sum(found) / len(found))
    return torch.cat(informed, dim=1)


def answer_one_by_one(
    network: CrossPersonMemoryTransformer, batch: Conversations, memory: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and memory as from the network, one person and one window after the other."""
    rows, windows, people = batch.size
    options, count = network.options, network.options.memory_tokens
    kept = [network.mem_init.expand(rows, -1, -1) if memory is None else memory[:, p] for p in range(people)]
    answers = []
    for window in range(windows):
        tokens, flags = [], []
        for person in range(people):
            seen = torch.cat([batch.valid[name][:, window, person] for name in network.modalities], dim=1)
            own = inform(network, batch, window, person)
            both = torch.cat([seen.new_ones(rows, count), seen], dim=1)
            out = encode(network.mem, torch.cat([kept[person], own], dim=1), None, both)
            if options.memory:
                candidate = out[:, :count]
                gate = torch.sigmoid(network.gate(torch.cat([kept[person], candidate], dim=-1)))
                new = (1 - gate) * kept[person] + gate * candidate
                kept[person] = torch.where(seen.any(dim=1)[:, None, None], new, kept[person])
            tokens.append(out[:, count:])
            flags.append(seen)
        felt = []
        for person in range(people):
            shared = tokens[person]
            if options.cross_person and people > 1:
                others = [other for other in range(people) if other != person]
                seen = torch.cat([flags[other] for other in others], dim=1)
                context = torch.cat([tokens[other] for other in others], dim=1)
                learnt = encode(network.cp, tokens[person], context, seen)
                shared = shared + learnt * seen.any(dim=1)[:, None, None]
            weights = flags[person].to(shared)[..., None]
            mean = (shared * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
            felt.append(torch.cat([mean, kept[person].mean(dim=1)], dim=-1))
        together = torch.stack(felt, dim=1)
        if options.target == "joint":
            present = torch.stack([one.any(dim=1) for one in flags], dim=1).to(together)[..., None]
            together = (together * present).sum(dim=1) / present.sum(dim=1).clamp(min=1)
        answers.append(network.head(together))
    return torch.stack(answers, dim=1), torch.stack(kept, dim=1)


def make_batch(sizes: dict[str, tuple[int, int]], rows: int, *, seed: int = 0) -> Conversations:
    """Recordings in which a tenth of the tokens is missing, and one person in some windows."""
    chance = torch.Generator().manual_seed(seed)
    tokens, valid = {}, {}
    away = torch.rand(rows, WINDOWS, PEOPLE, 1, generator=chance) < 0.1
    for name, (width, length) in sizes.items():
        tokens[name] = torch.randn(rows, WINDOWS, PEOPLE, length, width, generator=chance)
        valid[name] = (torch.rand(rows, WINDOWS, PEOPLE, length, generator=chance) > 0.1) & ~away
    return Conversations(tokens, valid, torch.arange(PEOPLE).expand(rows, -1))


def step(network: nn.Module, logits: torch.Tensor, labels: torch.Tensor, optimiser: torch.optim.Optimizer) -> None:
    """Loss, backward pass and step."""
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


def compare(name: str, rows: int, *, rounds: int) -> dict:
    """Time both sides on one size of input."""
    sizes = SIZES[name]
    torch.manual_seed(0)
    options = MemoryTransformerOptions(dropout=0.0)
    network = CrossPersonMemoryTransformer({key: width for key, (width, _) in sizes.items()}, CLASSES, options=options)
    batch = make_batch(sizes, rows)
    labels = torch.randint(CLASSES, (rows, WINDOWS))
    found = []
    for answer in (lambda: network(batch).logits, lambda: answer_one_by_one(network, batch)[0]):
        network.zero_grad()
        logits = answer()
        F.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
        gradients = [torch.zeros(1) if item.grad is None else item.grad.clone() for item in network.parameters()]
        found.append([logits.detach(), *gradients])
    differences = [float((one - other).abs().max()) for one, other in zip(*found, strict=True)]
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-6)
    sides = {
        "together": lambda: step(network, network(batch).logits, labels, optimiser),
        "one by one": lambda: step(network, answer_one_by_one(network, batch)[0], labels, optimiser),
    }
    times = median_of_rounds(sides, rounds)
    return {
        "tokens per person and window": sum(length for _, length in sizes.values()),
        "recordings": rows,
        "one by one, ms": f"{1000 * times['one by one']:.0f}",
        "together, ms": f"{1000 * times['together']:.0f}",
        "times as fast": f"{times['one by one'] / times['together']:.2f}",
        "logits differ by": f"{differences[0]:.0e}",
        "gradients differ by": f"{max(differences[1:]):.0e}",
    }


def main() -> None:
    """Compare on all sizes and print."""
    torch.set_num_threads(2)
    cases = [("small", 1), ("small", 8), ("half", 1), ("half", 4)]
    cases += [] if "--short" in sys.argv else [("full", 1), ("full", 4)]
    rows = [compare(name, count, rounds=5 if name == "small" else 3) for name, count in cases]
    show(f"Training step of the cross-person memory transformer: {PEOPLE} people, {WINDOWS} windows, d = 128", rows)


if __name__ == "__main__":
    main()
