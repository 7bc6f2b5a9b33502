//! How a workgroup goes through the keys of a head: the text that `attend` and `attend_hidden` share.
//!
//! A team of threads, a power of two, has a key: each loads 16 bytes of it and of its value. Scores are summed across the lanes
//! of a team; each team mixes its values with a softmax of its own, and the teams meet in the end: across lanes first, then
//! through workgroup memory. The next chunk of keys is loaded as soon as this one has been used.

use super::heads::Heads;
use crate::device::Caps;
use crate::shader::Shader;

/// A walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttendWalk {
    pub(super) heads: Heads,
    /// Threads of a workgroup, a multiple of 32 and of a team.
    pub(super) threads: usize,
    /// Keys that a team has in hand at a time, 4 or 8.
    pub(super) keys: usize,
    /// Heads of a workgroup: one, or all that share keys.
    pub(super) shared: usize,
    /// Parts of the keys, if that is known: nobody divides by it then.
    pub(super) splits: Option<usize>,
    /// Workgroups that attend alike, each for a share of what is made of it.
    pub(super) shares: usize,
    /// Whether the last part is the row's own key alone.
    pub(super) own_apart: bool,
}

/// What a kernel does around it.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// Before the first keys are loaded.
    pub(super) before: String,
    /// When these are on their way, before the queries are needed.
    pub(super) queries: String,
    /// When all is left.
    pub(super) after: String,
}

impl AttendWalk {
    /// Threads of a team.
    pub(super) fn team(heads: Heads) -> usize {
        heads.lanes().next_power_of_two()
    }

    /// Everything but `Params`, buffers, where queries come from, and where results go.
    pub(super) fn text(&self, shader: Shader, caps: Caps, around: &Around) -> Shader {
        let team = Self::team(self.heads);
        let skeleton = include_str!("../shared/attend_walk.wgsl")
            .replace(
                "// <team sum>",
                &lines(distances(1, team).rev(), |d| format!("sum += exchange(t, size, sum, {d}u);")),
            )
            .replace(
                "// <teams meet>",
                &lines(distances(team, 32), |d| format!("mix = met(t, size, mix, {d}u);")),
            )
            .replace(
                "// <variables>",
                &self.each_key(|i| format!("var at{i}: u32; var k{i}: vec4<u32>; var v{i}: vec4<u32>;")),
            )
            .replace("// <load keys>", &self.load_keys())
            .replace("// <load values>", &self.load_values())
            .replace("// <load queries>", &self.load_queries())
            .replace("// <scores>", &lines(0..self.keys / 4, |four| self.scores(four)))
            .replace("// <mix values>", &lines(0..self.keys / 4, |four| self.mix(four)))
            .replace("// <leave>", &lines(0..self.shared, leave))
            .replace("// <before>", &around.before)
            .replace("// <queries made>", &around.queries)
            .replace("// <after>", &around.after);
        self.heads
            .constants(shader)
            .constant("THREADS", self.threads)
            .constant("TEAM", team)
            .constant("SHARED", self.shared)
            .constant("KEYS", self.keys)
            .text(&skeleton)
            .text(&match self.splits {
                Some(splits) => format!("fn splits() -> u32 {{ return {splits}u; }}"),
                None => "fn splits() -> u32 { return p.splits; }".to_owned(),
            })
            .text(match self.shares {
                1 => "const share: u32 = 0u;",
                _ => "var<private> share: u32;",
            })
            .text(match self.own_apart {
                true => "fn key_parts() -> u32 { return splits() - 1u; }",
                false => "fn key_parts() -> u32 { return splits(); }",
            })
            .text(include_str!("../shared/exchange_pooled.wgsl"))
            .text(if caps.subgroups { include_str!("../shared/exchange.wgsl") } else { EXCHANGE })
            .text(include_str!("../shared/softmax.wgsl"))
            .text(include_str!("../shared/kv_cache.wgsl"))
    }

    /// The entry point; with columns of workgroups that bring weights near, or without.
    pub(super) fn main(&self, shader: Shader, caps: Caps, ahead: bool) -> Shader {
        let (size, argument) =
            if caps.subgroups { (", @builtin(subgroup_size) size: u32", "size") } else { ("", "1u") };
        let run = match self.shares {
            1 => format!("run(wg, t, {argument});"),
            shares => {
                format!(
                    "share = wg.y % {shares}u; run(vec3<u32>(wg.x, wg.y / {shares}u, wg.z), t, {argument});"
                )
            }
        };
        let (shader, body) = match ahead {
            false => (shader, run),
            true => (
                shader.text(include_str!("../shared/ahead.wgsl")),
                format!(
                    "let groups = N_HEADS / SHARED;\n  let column = splits() * {}u;\n\
                     \x20 if (wg.x >= groups) {{ bring_near((wg.x - groups) * column + wg.y, p.columns * column, t, THREADS); }}\n\
                     \x20 else {{ {run} }}",
                    self.shares
                ),
            ),
        };
        shader.text(&format!(
            "@compute @workgroup_size(THREADS)\n\
             fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32{size}) {{\n\
             \x20 {body}\n}}"
        ))
    }

    /// A line for each key that a team has in hand.
    fn each_key(&self, line: impl Fn(usize) -> String) -> String {
        lines(0..self.keys, line)
    }

    /// Keys from `first` on: every place before every key, since keys wait for their places.
    fn load_keys(&self) -> String {
        self.each_key(|i| {
            format!("at{i} = key_at(row.table, kv_head, min({}, row.position)) + lane;", key(i))
        }) + &self.each_key(|i| format!("if ({} < end) {{ k{i} = kv[at{i}]; }}", key(i)))
    }

    fn load_values(&self) -> String {
        self.each_key(|i| format!("if ({} < end) {{ v{i} = kv[at{i} + VALUES]; }}", key(i)))
    }

    fn load_queries(&self) -> String {
        let heads = 0..self.shared;
        lines(heads.clone(), |h| format!("let q{h} = query(row, wg, first_head + {h}u, t, size);"))
            + "  let own = own_of(row, wg, kv_head, t, size);\n"
            + &lines(heads, |h| format!("var mix{h} = begun(wg, q{h}, own, t, size);"))
    }

    /// Scores of four keys, by each head, if anybody has such keys.
    fn scores(&self, four: usize) -> String {
        let keys = 4 * four..4 * four + 4;
        lines(0..self.shared, |h| format!("var s{h}_{four} = vec4<f32>(LOWEST);"))
            + &format!("  if (first + {four}u * 4u * TEAMS < end) {{\n")
            + &lines(0..self.shared, |h| {
                let shares: Vec<_> = keys.clone().map(|i| format!("times(q{h}, k{i}, t)")).collect();
                format!("s{h}_{four} = team_sum(t, size, vec4<f32>({}));", shares.join(", "))
            })
            + "  }"
    }

    /// Four keys of the team into what it has mixed.
    fn mix(&self, four: usize) -> String {
        let values: Vec<_> = (4 * four..4 * four + 4).map(|i| format!("v{i}")).collect();
        format!(
            "if (here + {four}u * 4u * TEAMS < end) {{\n    let on = keys_of(here + {four}u * 4u * TEAMS, team) < vec4<u32>(end);\n"
        ) + &lines(0..self.shared, |h| {
            format!("mix{h} = mixed(mix{h}, s{h}_{four}, on, {});", values.join(", "))
        }) + "  }"
    }
}

/// Powers of two from `from` up to below `to`.
fn distances(from: usize, to: usize) -> impl DoubleEndedIterator<Item = usize> {
    (from.ilog2()..to.max(from).ilog2()).map(|bit| 1 << bit)
}

/// A line of each of `items`.
fn lines<T>(items: impl Iterator<Item = T>, line: impl Fn(T) -> String) -> String {
    items.fold(String::new(), |text, item| text + "  " + &line(item) + "\n")
}

/// Key `i` of a team's, from `first` on.
fn key(i: usize) -> String {
    format!("first + {i}u * TEAMS + team")
}

fn leave(h: usize) -> String {
    let wait = if h > 0 { "workgroupBarrier();\n  " } else { "" };
    format!("{wait}leave(wg, t, first_head + {h}u, wave_met(t, size, mix{h}));")
}

const EXCHANGE: &str =
    "fn exchange(t: u32, size: u32, v: vec4<f32>, d: u32) -> vec4<f32> { return exchange_pooled(t, v, d); }";
