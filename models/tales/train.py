#!/usr/bin/env python3
"""Trains the bundled model: a small llama on fairy tales, finished on the weights the GGUF file will hold.

    python3 train.py DATA OUT [--minutes 3] [--steps 3000] [--try "dropout=0.2 share=0.5"]...

DATA is what prepare.py wrote. Each `--try` is trained in turn until the time is used up; the one with the
lowest held-out loss goes on for 15% more steps with every matrix rounded to Q4_0 and the embedding to Q8_0
in the forward pass (straight-through gradient), so that the rounding in the file costs little. A try is a
list of NAME=VALUE with the names of `Try`; several tries may stand in one argument, parted by ";".

OUT receives weights-I-of-N.safetensors (f32, GGUF tensor names, before rounding), tokenizer.json,
config.json, loss.csv, loss.png and samples.txt.
"""

import argparse
import copy
import csv
import json
import math
import shutil
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from llama import Config, Llama

SEED = 1812
PROMPT = "Once upon a time"
SHARD_BYTES = 15_000_000
EVAL_EVERY = 100
FINISH_SHARE = 0.15  # steps on rounded weights, as a share of the steps before them


@dataclass(frozen=True)
class Try:
    """One setting to train.

    `share`: the share of sequences segmented with BPE-dropout; `width`: a multiple of 128 (heads are 64 wide).
    """

    dropout: float = 0.2
    share: float = 0.5
    decay: float = 0.3
    lr: float = 1.5e-3
    layers: int = 8
    width: int = 256
    ff: int = 768

    @classmethod
    def parse(cls, text: str) -> "Try":
        kinds = {f: type(v) for f, v in asdict(cls()).items()}
        pairs = (item.split("=", 1) for item in text.split())
        return replace(cls(), **{name: kinds[name](value) for name, value in pairs})

    def config(self, n_vocab: int, n_ctx: int) -> Config:
        return Config(
            n_vocab=n_vocab,
            n_ctx=n_ctx,
            n_embd=self.width,
            n_layer=self.layers,
            n_head=self.width // 64,
            n_head_kv=self.width // 128,
            n_ff=self.ff,
            dropout=self.dropout,
        )


class Data:
    """The token streams on the device, and how the held-out one is scored."""

    def __init__(self, folder: Path, n_ctx: int, batch: int, device: str):
        def load(name: str) -> Tensor:
            return torch.from_numpy(np.fromfile(folder / name, dtype=np.uint16).astype(np.int32)).to(device)

        self.facts = json.loads((folder / "facts.json").read_text())
        self.plain, self.held_out = load("train.bin"), load("held_out.bin")
        dropped = folder / "train_dropout.bin"
        self.dropped = load(dropped.name) if dropped.exists() else None
        self.n_ctx, self.batch = n_ctx, batch
        self.random = torch.Generator(device).manual_seed(SEED)
        self.windows = self.score_windows()

    def crops(self, share: float) -> tuple[Tensor, Tensor]:
        """Inputs and targets [batch, n_ctx] from random places, `share` of them with BPE-dropout."""
        n_dropped = round(share * self.batch) if self.dropped is not None else 0
        parts = [(self.plain, self.batch - n_dropped), (self.dropped, n_dropped)]
        rows = []
        for stream, count in parts:
            if count:
                limit = len(stream) - self.n_ctx
                start = torch.randint(limit, (count, 1), generator=self.random, device=stream.device)
                rows.append(stream[start + torch.arange(self.n_ctx + 1, device=stream.device)])
        both = torch.cat(rows).long()
        return both[:, :-1], both[:, 1:]

    def score_windows(self) -> list[tuple[Tensor, Tensor]]:
        """Batches (inputs, targets) over the held-out stream, each token a target once, all others -1.

        Windows overlap by half: a token is predicted from n_ctx / 2 tokens or more, but for the stream's start.
        """
        stream, half, size = self.held_out.long(), self.n_ctx // 2, self.n_ctx
        starts = list(range(0, max(1, len(stream) - 1 - half), half))
        rows = math.ceil(len(starts) / self.batch) * self.batch
        inputs = torch.zeros(rows, size, dtype=torch.long, device=stream.device)
        targets = torch.full_like(inputs, -1)
        for row, start in enumerate(starts):
            piece = stream[start : start + size + 1]
            inputs[row, : len(piece) - 1] = piece[:-1]
            skipped = half if start else 0
            targets[row, skipped : len(piece) - 1] = piece[1 + skipped :]
        assert int((targets >= 0).sum()) == len(stream) - 1
        return list(zip(inputs.split(self.batch), targets.split(self.batch)))


def autocast(device: str):
    return torch.autocast(device, torch.bfloat16) if device == "cuda" else nullcontext()


@torch.no_grad()
def held_out_loss(model: Llama, data: Data, device: str, exact: bool = False) -> float:
    """Nats per byte of held-out text; `exact`: in f32 throughout and without compiled code."""
    model.eval()
    total = 0.0
    stance = torch.compiler.set_stance("force_eager") if exact else nullcontext()
    with stance, nullcontext() if exact else autocast(device):
        for inputs, targets in data.windows:
            logits = model(inputs).flatten(0, 1).float()
            total += F.cross_entropy(logits, targets.flatten(), ignore_index=-1, reduction="sum").item()
    model.train()
    return total / data.facts["held_out_bytes"]


def optimizer_for(model: Llama, lr: float, decay: float, device: str) -> torch.optim.AdamW:
    """AdamW; decay on matrices only."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=device == "cuda")


@dataclass
class Run:
    """What a training phase found: its best state and the curve on the way."""

    best: float
    best_step: int
    state: dict[str, Tensor]
    curve: list[tuple[int, float, float]]  # step, training nats per token, held-out nats per byte
    steps: int
    seconds: float


def cosine(progress: float, warm_up: float = 0.03, floor: float = 0.03) -> float:
    if progress < warm_up:
        return progress / warm_up
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def falling(progress: float) -> float:
    """For the finish: a short rise, then straight down from a tenth of the first phase's rate."""
    return 0.1 * min(progress / 0.05, (1 - progress) / 0.95)


def train(model: Llama, data: Data, setting: Try, steps: int, seconds: float, rate, device: str) -> Run:
    """Trains until `steps` or `seconds` are used up; `rate` maps progress to a factor of the step size."""
    optimizer = optimizer_for(model, setting.lr, setting.decay, device)
    begin, since, mean = time.time(), 0, torch.zeros((), device=device)
    run = Run(held_out_loss(model, data, device), 0, copy.deepcopy(model.state_dict()), [], 0, 0.0)
    run.curve.append((0, float("nan"), run.best))
    progress = 0.0
    while progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = setting.lr * rate(min(1.0, progress + 1 / steps))
        inputs, targets = data.crops(setting.share)
        with autocast(device):
            loss = F.cross_entropy(model(inputs).flatten(0, 1).float(), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        run.steps, since, mean = run.steps + 1, since + 1, mean + loss.detach()
        if run.steps % 10 == 0 or run.steps >= steps:
            if device == "cuda":
                torch.cuda.synchronize()
            progress = max(run.steps / steps, (time.time() - begin) / seconds)
        if run.steps % EVAL_EVERY == 0 or progress >= 1:
            held = held_out_loss(model, data, device)
            run.curve.append((run.steps, (mean / since).item(), held))
            since, mean = 0, torch.zeros((), device=device)
            if held < run.best:
                run.best, run.best_step, run.state = held, run.steps, copy.deepcopy(model.state_dict())
    model.load_state_dict(run.state)
    run.seconds = time.time() - begin
    return run


def new_model(setting: Try, data: Data, n_vocab: int, device: str) -> Llama:
    torch.manual_seed(SEED)
    torch._dynamo.reset()
    model = Llama(setting.config(n_vocab, data.n_ctx)).to(device)
    for block in model.blk:
        block.compile(dynamic=False)
    return model


def check_compile(model: Llama, data: Data, device: str) -> bool:
    """Whether compiled code works here; if not, the whole program goes on without it."""
    if device == "cuda":
        try:
            with autocast(device):
                model(data.crops(0.0)[0]).float().mean().backward()
            model.zero_grad(set_to_none=True)
            return True
        except Exception as error:  # any failure of the compiler has the same way out
            print(
                f"torch.compile does not work here ({type(error).__name__}: {str(error)[:200]})", flush=True
            )
    torch.compiler.set_stance("force_eager")
    return False


@torch.no_grad()
def continue_text(
    model: Llama, prompt: list[int], count: int, n_new: int, temperature: float, device: str
) -> list[list[int]]:
    """`count` continuations; top-k 40, top-p 0.95, temperature, in llama.cpp's order; 0 is greedy."""
    random = torch.Generator(device).manual_seed(SEED)
    ids = torch.tensor([prompt] * count, device=device)
    model.eval()
    with torch.compiler.set_stance("force_eager"):
        for _ in range(n_new):
            logits, tokens = model(ids[:, -model.config.n_ctx :])[:, -1].float().topk(40)
            if temperature == 0:
                chosen = tokens[:, :1]
            else:
                probs = logits.softmax(-1)
                logits = logits.masked_fill(probs.cumsum(-1) - probs >= 0.95, float("-inf"))
                pick = torch.multinomial((logits / temperature).softmax(-1), 1, generator=random)
                chosen = tokens.gather(1, pick)
            ids = torch.cat((ids, chosen), 1)
    texts = [row[1:] for row in ids.tolist()]
    return [row[: row.index(0)] if 0 in row else row for row in texts]


def write_samples(model: Llama, data_folder: Path, out: Path, n_new: int, device: str) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(data_folder / "tokenizer.json"))
    prompt = [0, *tokenizer.encode(PROMPT).ids]
    parts = []
    for title, count, temperature in (("greedy", 1, 0.0), ("temperature 0.8, top-k 40, top-p 0.95", 10, 0.8)):
        for n, ids in enumerate(continue_text(model, prompt, count, n_new, temperature, device), 1):
            parts.append(f"--- {title}, {n} ---\n{tokenizer.decode(ids)}\n")
    (out / "samples.txt").write_text("\n".join(parts))


def write_weights(model: Llama, out: Path) -> list[str]:
    """The weights in f32 before rounding, no file over `SHARD_BYTES`; returns the file names."""
    from safetensors.torch import save_file

    shards: list[dict[str, Tensor]] = [{}]
    room = SHARD_BYTES
    for name, tensor in model.state_dict().items():
        size = tensor.numel() * 4
        if size > room:
            shards.append({})
            room = SHARD_BYTES
        shards[-1][name] = tensor.detach().float().cpu().contiguous()
        room -= size
    names = [f"weights-{n}-of-{len(shards)}.safetensors" for n in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards):
        save_file(shard, str(out / name))
    return names


def write_curve(first: Run, finish: Run, out: Path) -> None:
    with open(out / "loss.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["phase", "step", "train_nats_per_token", "held_out_nats_per_byte"])
        for phase, run in (("float", first), ("rounded", finish)):
            table.writerows([phase, step, f"{a:.4f}", f"{b:.4f}"] for step, a, b in run.curve)
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        print("no matplotlib: loss.png is left out", flush=True)
        return
    figure, left = pyplot.subplots(figsize=(7, 4), dpi=80)
    right = left.twinx()
    for run, start, style in ((first, 0, "-"), (finish, first.steps, "--")):
        steps = [start + point[0] for point in run.curve]
        left.plot(steps, [point[1] for point in run.curve], "C0" + style)
        right.plot(steps, [point[2] for point in run.curve], "C1" + style)
    left.set_xlabel("step (dashed: on rounded weights)")
    left.set_ylabel("training loss, nats per token", color="C0")
    right.set_ylabel("held-out loss, nats per byte", color="C1")
    figure.tight_layout()
    figure.savefig(out / "loss.png")


def sweep(
    tries: list[Try], data: Data, args, n_vocab: int, device: str
) -> tuple[Llama, Try, Run, list[dict], bool]:
    """Trains the tries in turn while time lasts; returns the best one's model and what all of them gave."""
    begin, winner, table, compiled = time.time(), None, [], False

    def left() -> float:
        """Seconds for tries: what the finish, the samples and the files do not need."""
        return (60 * args.minutes - (time.time() - begin) - 25) / (1 + 1.5 * FINISH_SHARE)

    for setting in tries:
        if winner and left() < 1.1 * max(row["seconds"] for row in table):
            print(f"no time left for {setting}", flush=True)
            continue
        model = new_model(setting, data, n_vocab, device)
        compiled = check_compile(model, data, device) if not table else compiled
        run = train(model, data, setting, args.steps, max(left(), 1), cosine, device)
        step, loss, held = run.curve[-1]
        found = {"held_out": run.best, "best_step": run.best_step, "last": held, "train": loss, "steps": step}
        table.append({**asdict(setting), **found, "seconds": round(run.seconds, 1)})
        print(" ".join(f"{k}={round(v, 4)}" for k, v in table[-1].items()), flush=True)
        if winner is None or run.best < winner[2].best:
            winner = (model, setting, run)
    return *winner, table, compiled


def gguf_keys(c: Config) -> dict:
    """The file's metadata, by GGUF name."""
    return {
        "general.architecture": "llama",
        "llama.vocab_size": c.n_vocab,
        "llama.context_length": c.n_ctx,
        "llama.embedding_length": c.n_embd,
        "llama.block_count": c.n_layer,
        "llama.feed_forward_length": c.n_ff,
        "llama.attention.head_count": c.n_head,
        "llama.attention.head_count_kv": c.n_head_kv,
        "llama.attention.layer_norm_rms_epsilon": c.rms_eps,
        "llama.rope.freq_base": c.rope_base,
        "llama.rope.dimension_count": c.head_dim,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0, help="for everything, start-up aside")
    parser.add_argument("--steps", type=int, default=3000, help="steps of a try, fewer if time runs out")
    parser.add_argument("--batch", type=int, default=64, help="sequences a step")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--sample-tokens", type=int, default=300)
    parser.add_argument(
        "--try", action="append", dest="tries", metavar="SETTINGS", help='e.g. "dropout=0.1; dropout=0.3"'
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tries = [Try.parse(t) for text in args.tries or [""] for t in text.split(";")]
    data = Data(args.data, args.context, args.batch, device)
    n_vocab = len(json.loads((args.data / "tokenizer.json").read_text())["model"]["vocab"])
    begin = time.time()

    model, setting, first, table, compiled = sweep(tries, data, args, n_vocab, device)
    losses = {"float": held_out_loss(model, data, device, exact=True)}
    model.set_quantised(True)
    losses["rounded, before the finish"] = held_out_loss(model, data, device, exact=True)
    left = max(60 * args.minutes - (time.time() - begin) - 15, 1)
    finish = train(model, data, setting, max(1, round(FINISH_SHARE * first.steps)), left, falling, device)
    losses["rounded, after the finish"] = held_out_loss(model, data, device, exact=True)

    write_samples(model, args.data, args.out, args.sample_tokens, device)
    write_curve(first, finish, args.out)
    shutil.copy(args.data / "tokenizer.json", args.out)
    facts = {
        "gguf": gguf_keys(model.config),
        "weights": write_weights(model, args.out),
        "parameters": sum(p.numel() for p in model.parameters()),
        "setting": asdict(setting),
        "held_out_nats_per_byte": losses,
        "held_out_bits_per_byte": {name: loss / math.log(2) for name, loss in losses.items()},
        "held_out_perplexity_per_token": {
            name: math.exp(loss * data.facts["held_out_bytes"] / (len(data.held_out) - 1))
            for name, loss in losses.items()
        },
        "steps": [first.steps, finish.steps],
        "best_step": [first.best_step, finish.best_step],
        "tokens_seen": (first.steps + finish.steps) * args.batch * args.context,
        "seconds": round(first.seconds + finish.seconds, 1),
        "seconds_with_other_tries": round(time.time() - begin, 1),
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "torch": torch.__version__,
        "compiled": compiled,
        "data": data.facts,
        "tries": table,
    }
    (args.out / "config.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(
        json.dumps({k: facts[k] for k in ("held_out_nats_per_byte", "best_step", "tokens_seen", "seconds")}),
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
