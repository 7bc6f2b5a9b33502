//! The text of attention.

use super::Source;
use super::exchange::Word;
use super::vectors::BLOCK_WORDS;
use crate::persistent::shape::Spot;
use std::fmt::Write;

/// What groups that do not attend bring near of a large layer: more takes longer than attention. With 8, 12, 16, 20, 24 and 32 MB Llama-1B made
/// 2,936, 2,985, 2,885, 2,852, 2,716 and 2,672 tokens a second, 8 layers of Llama-8B 2,890, 2,914, 2,877, 2,833, 2,808 and 2,658.
const PREFETCH_BYTES: usize = 12 << 20;

impl Source {
    /// Keys in registers, the loads of the next, and the phase.
    pub(super) fn attention(&self, text: &mut String) {
        let keys = self.geometry.keys;
        let _ = writeln!(
            text,
            "var<workgroup> states: array<f32, {}u>;",
            2 * self.geometry.splits * self.shape.heads.n_heads
        );
        for i in 0..keys {
            let _ = writeln!(text, "var<private> key{i}: vec4<u32>;\nvar<private> value{i}: vec4<u32>;");
        }
        let load = |what: &str| {
            (0..keys).fold(String::new(), |text, i| {
                text + &format!(
                    "  {what}{i} = vec4<u32>();\n  if (first + {i}u * N_TEAMS < last) {{ {what}{i} = kv[at{i}{}]; }}\n",
                    match what {
                        "key" => "",
                        _ => " + VALUES",
                    }
                )
            })
        };
        let places = (0..keys).fold(String::new(), |text, i| {
            text + &format!("  let at{i} = key_at(layer, min(first + {i}u * N_TEAMS, max(last, 1u) - 1u));\n")
        });
        let _ = writeln!(
            text,
            "// Keys and values from the thread's team's key `first` on, to be used a phase or more later.\n\
             fn load_keys(layer: u32, first: u32, last: u32) {{\n{places}{}{}}}",
            load("key"),
            load("value")
        );
        self.sums(text);
        for n in self.row_counts() {
            self.mix(text, n);
        }
        self.attend(text);
        self.prefetch(text);
    }

    fn attend(&self, text: &mut String) {
        let dim = self.shape.heads.head_dim;
        let deal = self.deal(3 * dim);
        let word = |k| Word::of(deal, k, |e| format!("qkv_word({e})"));
        let words: Vec<_> = (0..deal.pieces()).map(word).collect();
        let stage = (0..deal.pieces()).fold(String::new(), |text, k| {
            let e = format!("t + {}u", deal.first(k));
            let stage = format!("let e = {e}; head_qkv[e / 4u][e % 4u] = number(word{k});");
            text + &format!("  if ({e} < {}u) {{ {stage} }}\n", 3 * dim)
        });
        let norms = self.head_norms();
        let _ = writeln!(
            text,
            "// The word of element `e` of the head's query, key and value.\n\
             fn qkv_word(e: u32) -> u32 {{\n\
             \x20 let part = e / HEAD_DIM;\n\
             \x20 let heads = select(N_HEADS + (part - 1u) * N_KV_HEADS + kv_head(), head(), part == 0u);\n\
             \x20 return AT_QKV + heads * HEAD_DIM + e % HEAD_DIM;\n}}\n\
             fn attend(layer: u32, position: u32) {{\n\
             \x20 if (!AHEAD) {{\n    load_angles(position);\n    load_first_keys(layer, position);\n  }}\n{}{}{stage}{}  workgroupBarrier();\n{}{}{}}}",
            norms[0],
            self.wait(&words, "tag"),
            norms[1],
            include_str!("../own_key.wgsl"),
            self.chunks(),
            self.meet(),
        );
    }

    /// Weights of the norms of Q and K on their way, and to workgroup memory.
    fn head_norms(&self) -> [String; 2] {
        let (dim, threads) = (self.shape.heads.head_dim, self.geometry.threads);
        let (mut loads, mut stores) = (String::new(), String::new());
        if !self.shape.head_norms {
            return [loads, stores];
        }
        for k in 0..(2 * dim).div_ceil(threads) {
            let e = format!("min(t + {}u, {}u)", k * threads, 2 * dim - 1);
            let read = self.of_weights(&self.shape.qkv, "layer", |spot, _, words| {
                let [q, k_norm] = spot.head_norms;
                format!(
                    "    weight{k} = {words}[select({k_norm}u, {q}u, {e} < HEAD_DIM) + layer * LAYER_WORDS + {e} % HEAD_DIM];\n"
                )
            });
            let _ = writeln!(loads, "  var weight{k}: u32;\n{read}");
            let _ = writeln!(
                stores,
                "  if (t + {first}u < {}u) {{ head_norms[(t + {first}u) / 4u][(t + {first}u) % 4u] = bitcast<f32>(weight{k}); }}",
                2 * dim,
                first = k * threads
            );
        }
        [loads, stores]
    }

    /// All keys of the part, a chunk at a time: as many rows of keys, one for each team, as there are. The first is apart, and where there
    /// are no more there is no loop: at every turn of one, and behind it, NVIDIA's compiler moves the weights that registers hold. SmolLM-135M,
    /// 128 tokens, thrice, with all chunks in a loop, with the first apart, and without a loop: 4,148 to 4,157, 4,163 to 4,186 and 4,236 tokens
    /// a second; at 4,096 and 8,000, all in a loop and the first apart: 2,896 to 2,963 and 3,034 to 3,045, 2,455 to 2,486 and 2,518 to 2,535.
    fn chunks(&self) -> String {
        let sizes = self.row_counts();
        let last = sizes.len() - 1;
        let pick = sizes.iter().enumerate().fold(String::new(), |text, (i, n)| {
            text + &match i {
                _ if i == last => format!("{{ mix_{n}(base + t / LANES, last); }}"),
                _ => {
                    format!("if (last - base <= {n}u * N_TEAMS) {{ mix_{n}(base + t / LANES, last); }} else ")
                }
            }
        });
        let others = match self.geometry.one_chunk {
            true => String::new(),
            false => format!(
                "  for (var base = first_key(position) + CHUNK; base < last; base += CHUNK) {{\n\
                 \x20   load_keys(layer, base + t / LANES, last);\n    {pick}\n  }}\n"
            ),
        };
        format!(
            "  let last = last_key(position);\n\
             \x20 {{\n    let base = first_key(position);\n    if (base < last) {{\n    {pick}\n    }}\n  }}\n{others}"
        )
    }

    fn row_counts(&self) -> Vec<usize> {
        let keys = self.geometry.keys;
        [1, 2, 4, 8].into_iter().filter(|&n| n < keys).chain([keys]).collect()
    }

    /// `n` keys of each team into what it has mixed, and sums over lanes.
    fn mix(&self, text: &mut String, n: usize) {
        let lines = |line: &dyn Fn(usize) -> String| {
            (0..n).fold(String::new(), |text, i| text + "  " + &line(i) + "\n")
        };
        let scores = lines(&|i| {
            format!(
                "let on{i} = first + {i}u * N_TEAMS < last; let s{i} = select(LOWEST, team_sum(dot(low_half(key{i}), q_low) + dot(high_half(key{i}), q_high)), on{i});"
            )
        });
        let high = (0..n).fold("top".to_owned(), |high, i| format!("max({high}, s{i})"));
        let mix = lines(&|i| {
            format!(
                "if (on{i}) {{ let w = weight(s{i} - high); total += w; mixed_low += w * low_half(value{i}); mixed_high += w * high_half(value{i}); }}"
            )
        });
        let _ = writeln!(
            text,
            "fn mix_{n}(first: u32, last: u32) {{\n{scores}  let high = {high};\n  let fade = weight(top - high);\n  top = high;\n\
             \x20 total *= fade;\n  mixed_low *= fade;\n  mixed_high *= fade;\n{mix}}}"
        );
    }

    /// Sums over the lanes of a team, and over the teams of a subgroup.
    fn sums(&self, text: &mut String) {
        let (team, lanes) = (self.shape.heads.lanes(), self.geometry.lanes);
        let steps = |from: usize, to: usize| {
            std::iter::successors(Some(from), |n| Some(2 * n))
                .take_while(move |&n| n < to)
                .fold(String::new(), |text, n| text + &format!("  sum += subgroupShuffleXor(sum, {n}u);\n"))
        };
        let _ = writeln!(
            text,
            "fn team_sum(v: f32) -> f32 {{\n  var sum = v;\n{}  return sum;\n}}",
            steps(1, team)
        );
        let _ = writeln!(
            text,
            "fn across_teams(v: vec4<f32>) -> vec4<f32> {{\n  var sum = v;\n{}  return sum;\n}}",
            steps(team, lanes)
        );
        let _ = writeln!(
            text,
            "fn subgroup_top(v: f32) -> f32 {{\n  var sum = v;\n{}  return sum;\n}}",
            steps(team, lanes)
                .replace("sum += subgroupShuffleXor(sum,", "sum = max(sum, subgroupShuffleXor(sum,")
                .replace(");", "));")
        );
    }

    /// Teams meet in their subgroups, and subgroups in workgroup memory.
    fn meet(&self) -> String {
        let n = self.geometry.threads / self.geometry.lanes;
        let per = |line: &dyn Fn(usize) -> String| {
            (0..n).fold(String::new(), |text, i| text + "    " + &line(i) + "\n")
        };
        let high = (1..n).fold("tops[0]".to_owned(), |high, i| format!("max({high}, tops[{i}])"));
        let weights = per(&|i| format!("let w{i} = weight(tops[{i}] - high);"));
        let sums = per(&|i| {
            format!("sum += w{i} * pool[{i}u * HEAD_DIM / 4u + e / 4u][e % 4u]; all += w{i} * totals[{i}];")
        });
        let state = "(split() * N_HEADS + head())";
        // All of a subgroup round a block together; else nobody is told when the group has stopped.
        let (and_on, store) = match (self.geometry.splits, self.shape.rounds) {
            (1, true) => (
                "",
                format!(
                    "publish_block(AT_ATTENDED, (head() * HEAD_DIM + e) / 8u, sum / all, 0.0, {BLOCK_WORDS}u, on);"
                ),
            ),
            (1, false) => (" && on", "publish(AT_ATTENDED + head() * HEAD_DIM + e, sum / all);".to_owned()),
            _ => (
                " && on",
                format!(
                    "publish(AT_ATTENDED + {state} * HEAD_DIM + e, sum);\n\
                     \x20   if (e < 2u) {{ publish(AT_STATES + {state} * 2u + e, select(all, high, e == 0u)); }}"
                ),
            ),
        };
        // No loop: with one that threads leave at different times and that has operations of subgroups, NVIDIA's compiler no longer knows
        // which threads are together, and has all operations of a layer find out.
        let (dim, threads) = (self.shape.heads.head_dim, self.geometry.threads);
        let made = (0..dim.div_ceil(threads)).fold(String::new(), |text, k| {
            text + &format!(
                "  if (t + {first}u < HEAD_DIM{and_on}) {{\n    let e = t + {first}u;\n    let high = {high};\n{weights}    var sum = 0.0;\n\
                 \x20   var all = 0.0;\n{sums}    {store}\n  }}\n",
                first = k * threads
            )
        });
        format!(
            "  let peak = subgroup_top(top);\n\
             \x20 let fade = weight(top - peak);\n\
             \x20 let low = across_teams(mixed_low * fade);\n  let high_part = across_teams(mixed_high * fade);\n\
             \x20 let sums = across_teams(vec4<f32>(total * fade));\n\
             \x20 if (lane < LANES) {{\n    pool[subgroup * HEAD_DIM / 4u + 2u * lane] = low;\n\
             \x20   pool[subgroup * HEAD_DIM / 4u + 2u * lane + 1u] = high_part;\n  }}\n\
             \x20 if (lane == 0u) {{\n    tops[subgroup] = peak;\n    totals[subgroup] = sums.x;\n  }}\n\
             \x20 let on = alive();\n\
             \x20 workgroupBarrier();\n\
             {made}"
        )
    }

    /// Weights on their way to the cache, by groups that do not attend: those of the layer after next, or, where registers do not hold a
    /// layer and a cache does not hold two, those that come next, as long as attention takes.
    fn prefetch(&self, text: &mut String) {
        let shape = &self.shape;
        let groups = self.geometry.groups.saturating_sub(self.geometry.splits * shape.heads.n_heads);
        let threads = groups * self.geometry.threads;
        let (place, layer, most) = match self.geometry.holds_layer {
            true => (&shape.qkv, "((layer + 2u) % N_LAYERS)", usize::MAX),
            false => (&shape.attn_output, "layer", PREFETCH_BYTES),
        };
        let before = 16 * place.spots[0].quads.wrapping_sub(shape.qkv.spots[0].quads) as usize;
        let bytes = (4 * shape.layer_words as usize).saturating_sub(before);
        // A word of every 32 bytes.
        let n = bytes.min(most) / 32;
        let at = |i: &str, words: &str| match shape.n_buffers() {
            1 => format!("first + ({i}) * 8u"),
            // The end of a layer may be in the next buffer.
            _ => format!("min(first + ({i}) * 8u, arrayLength(&{words}) - 1u)"),
        };
        let reads = |spot: &Spot, _: &str, words: &str| {
            let first = format!("  let first = {}u + {layer} * LAYER_WORDS;\n", spot.quads.wrapping_mul(4));
            (0..n.div_ceil(threads.max(1))).fold(first, |text, k| {
                let i = format!("i + {}u", k * threads);
                text + &format!("  if ({i} < {n}u) {{ seen ^= {words}[{}]; }}\n", at(&i, words))
            })
        };
        let reads = if threads == 0 { String::new() } else { self.of_weights(place, layer, reads) };
        let _ = writeln!(
            text,
            "fn prefetch(layer: u32) {{\n  let i = (wg - N_HEADS * SPLITS) * THREADS + t;\n  var seen = 0u;\n{reads}\
             \x20 // Never so; but the loads must not be taken for useless.\n\
             \x20 if (limit == 0xffffffffu && seen == 1u) {{ publish_word(AT_BEST, seen); }}\n}}"
        );
    }
}
