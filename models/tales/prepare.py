#!/usr/bin/env python3
"""Turns a folder of old fairy-tale books into training data for the bundled model.

    python3 prepare.py CORPUS OUT [--copies 8] [--dropout 0.1] [--keep-text]

CORPUS holds the plain-text books of `BOOKS`, one paragraph a block, blocks parted by blank lines.
Every book is cut into its stories; front matter, scholars' notes and footnotes are left out, quotes and
letters become plain ASCII. About 4% of each book is held out, whole neighbouring stories at a time.

OUT receives
    train.bin, held_out.bin   token ids, uint16, stories parted by `<|endoftext|>` (id 0)
    train_dropout.bin         the training text again, `--copies` times, segmented with BPE-dropout
    tokenizer.json            byte-level BPE, 4096 tokens, GPT-2 pre-tokenizer (`tokenizer.ggml.pre` "gpt-2")
    facts.json                sizes, and which stories were held out
"""

import argparse
import json
import random
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SEED = 1812  # the year of the Grimms' first edition
VOCAB_SIZE = 4096
END = "<|endoftext|>"
HELD_OUT = 0.04

CAPITALS = r"[^a-z]*[A-Z]{2}[^a-z]*[^a-z.!?\"',:;]"
TITLE_CASE = r"[A-Z][^.!?:;\"]{2,70}[a-z)]"
NUMBERED = r"(Legend )?\d+\*? [A-Z].*|[A-Z]+ STORY|Children's Legends"


@dataclass(frozen=True)
class Book:
    """Where the stories of one file begin and end, and how to tell their headings.

    `first` is the first story's heading; the last paragraph equal to it counts, the earlier ones being
    tables of contents. `last` begins the first paragraph after the stories. `pause` begins what is skipped
    up to the next heading (morals, notes); `single_quotes` says that speech stands in 'single quotes'.
    """

    file: str
    first: str
    heading: str
    last: str | None = None
    pause: str | None = None
    single_quotes: bool = False


# Ralston talks on after each of his stories; he gives himself away by naming chapters, stories and sources.
SCHOLAR = "|".join(
    (
        r"CHAPTER |MYTHOLOGICAL|LEGENDS|GHOST|MAGIC|FOOTNOTES|\[[A-Z]|Here is an account",
        r".*\b(Skazk|the skazk|Afanasief|Khudyakof|[Vv]ariant|Slavoni|Servian|[Mm]ytholog|Grimm\b)",
        r".*(In the Government|Government\)|[Ff]olk-tale|[Pp]opular|supersti|Vampire sets)",
        r".*Russian (peasant|song|village|folk|tale|popular)",
        r".*(([Tt]hese|[Tt]he) stories|stories (of|about|in|which|are)|story of--$)",
        r".*([Tt]his|second|another|following|similar) (story|legend|tale)\b",
        r".*(remembering, perhaps|it seems, render)",
    )
)

BOOKS = [
    # Two file names mislead: the first holds the translation by Vernon Jones, the second the one by Jacobs.
    Book("aesop_townsend.txt", "THE FOX AND THE GRAPES", CAPITALS, "ILLUSTRATIONS"),
    Book("aesop_vernon.txt", "The Cock and the Pearl", TITLE_CASE, "And this is the end"),
    Book("grimm_hunt.txt", "1 The Frog-King, or Iron Henry", NUMBERED),
    Book("grimm_taylor.txt", "THE GOLDEN BIRD", CAPITALS, "*****", single_quotes=True),
    Book("jacobs_english.txt", "TOM TIT TOT", CAPITALS, "OYEZ-OYEZ-OYEZ"),
    Book(
        "jacobs_indian.txt",
        "The Lion and the Crane",
        TITLE_CASE + r"|(How the (Raja|Wicked)|Why the Fish|Raja Rasalu|Harisarman)[^.]*\.?",
        "Notes and References",
    ),
    Book(
        "lane_arabian_nights.txt",
        "THE STORY OF THE MERCHANT AND THE JINNEE.",
        r"(THE|CONTINUATION|CONCLUSION).* (STORY|OF) .*[A-Z]{2}.*",
        pause=r"CHAPTER |NOTES TO ",
    ),
    Book("lang_blue.txt", "THE BRONZE RING", CAPITALS),
    Book(
        "lang_yellow.txt",
        "THE CAT AND THE MOUSE IN PARTNERSHIP",
        CAPITALS + r"|.*[A-Z]{3} ?\(\d+\)",
        single_quotes=True,
    ),
    Book("perrault.txt", "Little Red Riding-Hood", TITLE_CASE, "Uniform with", pause=r"The Moral$|Another$"),
    Book(
        "russian_ralston.txt",
        "THE FIEND.",
        r"[A-Z][A-Z ,'-]+\.",
        "INDEX.",
        pause=SCHOLAR,
    ),
]

# Told in dialect throughout: a model this small would take it for grammar.
DIALECT = {
    "TOM TIT TOT",
    "CAP O' RUSHES",
    "THE RED ETTIN",
    "THE RED ETIN",
    "THE BLACK BULL OF NORROWAY",
    "THE CAULD LAD OF HILTON",
}
# Stories with these words come from their century's contempt for somebody; a program should not repeat it.
SLURS = re.compile(
    r"\b(Jews?|Jewess|Jewish|[Nn]igger|[Nn]egro(es)?|[Bb]lackamoor|Gips(y|ies)|black (slave|man)s?)\b"
)


@dataclass(frozen=True)
class Story:
    book: str
    title: str
    text: str

    def size(self) -> int:
        return len(self.text.encode())

    def shingles(self, words: int = 8) -> set[tuple[str, ...]]:
        """All runs of `words` words: what two tellings of one text share and two translations do not."""
        found = re.findall(r"[a-z]+", self.text.lower())
        return {tuple(found[i : i + words]) for i in range(len(found) - words + 1)}


PLAIN = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "—": "--", "–": "-", "…": "...", "æ": "ae", "Æ": "Ae"}
)


def to_ascii(text: str) -> str:
    """Typographic marks and accented letters as the nearest ASCII."""
    text = text.translate(PLAIN)
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def double_quotes(text: str) -> str:
    """Speech from 'single' to "double" quotes, apostrophes left alone."""
    elided = r"(?!(?:tis|twas|twill|twere|em|prentice|cause|gainst|neath|tother)\b)"
    opened = re.sub(rf"(^|[\s(\-\"])'{elided}(?=[A-Za-z(\"])", r'\1"', text)
    return re.sub(r"(?<=[.,!?;:\-)])'(?![A-Za-z])", '"', opened)


def clean(text: str, single_quotes: bool) -> str:
    """One paragraph without footnote marks, emphasis and layout."""
    text = to_ascii(" ".join(text.split()))
    text = re.sub(r" ?\[(\*|[IVXivx]*\d+|sic|typo [^\]]*)\]| ?\(\d+\)", "", text)  # footnote marks
    text = re.sub(r" ?\[(skazki|skazochki|gusli)\]", "", text)
    text = re.sub(r"[\[\]]|(?<!\w)[_*](?=\w)|(?<=\w)[_*](?!\w)", "", text)  # editors' brackets, emphasis
    text = re.sub(r"([:,;])--(?=[A-Za-z\"']|$)|(?<=[a-z])([.!?])--(?=[A-Z])", r"\1\2 ", text).replace(
        "&c.", "etc."
    )
    text = re.sub(r"-{3,}", "--", re.sub(r"^--", "", text))
    text = re.sub(r"^\W*\b[A-Z]{2,}(?= [a-z])", lambda m: m.group().capitalize(), text)  # dropped capitals
    return (double_quotes(text) if single_quotes else text).strip()


def is_layout(paragraph: str) -> bool:
    """Rulers, footnotes at the end of a story, tables."""
    return (
        not re.search("[A-Za-z]{2}", paragraph)
        or re.match(r"\(\d+\)|\[\*\]", paragraph)
        or re.search(r"[|=]", paragraph)
    )


def read_stories(corpus: Path, book: Book) -> list[Story]:
    """The stories of one book, in order."""
    blocks = [b.strip() for b in (corpus / book.file).read_text(encoding="utf-8").split("\n\n")]
    start = max(i for i, b in enumerate(blocks) if b == book.first)
    stories, title, body = [], None, []

    def finish() -> None:
        if title and body:
            stories.append(Story(book.file, title, "\n\n".join(body)))

    for block in blocks[start:]:
        if book.last and block.startswith(book.last):
            break
        if book.pause and re.match(book.pause, block):
            finish()
            title, body = None, []
        elif (
            re.fullmatch(book.heading, block)
            and len(block) < 120
            and not block.startswith(("BE BOLD", "WARRA", title or "#"))
        ):
            finish()
            title, body = re.sub(r" ?\(\d+\)|\[\w+\]|\.$", "", block), []
        elif title and not is_layout(block):
            body.append(clean(block, book.single_quotes))
    finish()
    return stories


def choose(stories: list[Story]) -> list[Story]:
    """Drops dialect, slurs, fragments, and any story another book tells in the same words."""
    kept, seen = [], set()
    for story in stories:
        if story.title in DIALECT or SLURS.search(story.text) or story.size() < 250:
            continue
        shingles = story.shingles()
        if len(shingles & seen) < 0.3 * len(shingles):
            kept.append(story)
            seen |= shingles
    return kept


def split(stories: list[Story], rng: random.Random) -> tuple[list[Story], list[Story]]:
    """Training and held-out stories: from each book one run of neighbours of about `HELD_OUT` of its size.

    A training story that shares more than a few phrases with a held-out one leaves the training set.
    """
    held = []
    for book in BOOKS:
        own = [s for s in stories if s.book == book.file]
        goal = HELD_OUT * sum(s.size() for s in own)
        runs = [own[i:j] for i in range(len(own)) for j in range(i + 1, len(own) + 1)]
        near = [r for r in runs if 0.75 * goal <= sum(s.size() for s in r) <= 1.25 * goal]
        held += rng.choice(near) if near else min(runs, key=lambda r: abs(sum(s.size() for s in r) - goal))
    known = set().union(*(s.shingles() for s in held))
    train = [s for s in stories if s not in held]
    return [s for s in train if len(s.shingles() & known) <= 0.02 * len(s.shingles())], held


def train_tokenizer(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class DropoutSegmenter:
    """BPE-dropout (Provilkov et al. 2020): each time a merge could apply, it is skipped with
    probability `dropout`.

    The tokenizers library has it too, but takes no seed.
    """

    def __init__(self, tokenizer: Tokenizer, dropout: float, seed: int):
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        pairs = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in merges]
        self.ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self.ids = tokenizer.get_vocab()
        self.split = tokenizer.pre_tokenizer.pre_tokenize_str
        self.dropout, self.random = dropout, random.Random(seed).random

    def word(self, word: str) -> list[int]:
        symbols, ranks, never = list(word), self.ranks, len(self.ranks)
        while len(symbols) > 1:
            best, at = never, -1
            for i in range(len(symbols) - 1):
                rank = ranks.get((symbols[i], symbols[i + 1]), never)
                if rank < best and (self.dropout == 0 or self.random() >= self.dropout):
                    best, at = rank, i
            if at < 0:
                break
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        return [self.ids[s] for s in symbols]

    def text(self, text: str) -> list[int]:
        return [i for word, _ in self.split(text) for i in self.word(word)]


def encode(texts: list[str], segment) -> np.ndarray:
    """`<|endoftext|>` before each story and after the last."""
    ids = [i for text in texts for i in [0, *segment(text)]] + [0]
    return np.array(ids, dtype=np.uint16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--copies", type=int, default=8, help="copies of the training text with BPE-dropout")
    parser.add_argument("--dropout", type=float, default=0.1, help="probability of leaving out a merge")
    parser.add_argument("--keep-text", action="store_true", help="also write train.txt and held_out.txt")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    stories = choose([s for book in BOOKS for s in read_stories(args.corpus, book)])
    train, held = split(stories, random.Random(SEED))
    texts, held_texts = [s.text for s in train], [s.text for s in held]
    tokenizer = train_tokenizer(texts)
    tokenizer.save(str(args.out / "tokenizer.json"))

    def plain(text: str) -> list[int]:
        return tokenizer.encode(text).ids

    exact = DropoutSegmenter(tokenizer, 0.0, SEED)
    assert all(
        exact.text(t) == plain(t) for t in held_texts
    ), "own merging and the tokenizers library disagree"
    assert all(tokenizer.decode(plain(t)) == t for t in held_texts), "decoding must give the text back"
    parts = {"train": encode(texts, plain), "held_out": encode(held_texts, plain)}
    if args.copies:
        segmenters = [DropoutSegmenter(tokenizer, args.dropout, SEED + n) for n in range(args.copies)]
        parts["train_dropout"] = np.concatenate([encode(texts, s.text) for s in segmenters])
    for name, ids in parts.items():
        ids.tofile(args.out / f"{name}.bin")
    if args.keep_text:
        for name, part in (("train", train), ("held_out", held)):
            body = "\n\n".join(f"##### {s.book}: {s.title}\n\n{s.text}" for s in part)
            (args.out / f"{name}.txt").write_text(body + "\n", encoding="utf-8")

    facts = {
        "seed": SEED,
        "train_bytes": sum(s.size() for s in train),
        "held_out_bytes": sum(s.size() for s in held),
        "tokens": {name: len(ids) for name, ids in parts.items()},
        "bpe_dropout": args.dropout if args.copies else 0.0,
        "copies": args.copies,
        "stories": {b.file: sum(s.book == b.file for s in stories) for b in BOOKS},
        "bytes": {b.file: sum(s.size() for s in stories if s.book == b.file) for b in BOOKS},
        "held_out_stories": [f"{s.book}: {s.title}" for s in held],
    }
    (args.out / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps({k: v for k, v in facts.items() if k != "held_out_stories"}, indent=1))


if __name__ == "__main__":
    main()
