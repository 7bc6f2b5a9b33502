//! Shader text: a kernel's skeleton, the shared snippets that it needs, and constants.

use crate::device::Caps;
use crate::kernels::sampling::{MOST_K, MOST_VOCAB};
use crate::layout::{UnitWords, quant_offset};
use gguf::TensorType;
use gguf::format::{bits, has_min};
use std::fmt::Write;

/// Text under construction.
#[derive(Debug, Default, Clone)]
pub(crate) struct Shader(String);

impl Shader {
    pub(crate) fn constant(mut self, name: &str, value: usize) -> Self {
        let _ = writeln!(self.0, "const {name}: u32 = {value}u;");
        self
    }

    pub(crate) fn float(mut self, name: &str, value: f32) -> Self {
        // The shortest text that reads back as the same number.
        let _ = writeln!(self.0, "const {name}: f32 = {value:?};");
        self
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.push_str(text);
        if !text.ends_with('\n') {
            self.0.push('\n');
        }
        self
    }

    /// The buffers that every kernel sees.
    pub(crate) fn bindings(self) -> Self {
        self.text(BINDINGS)
    }

    /// The same, with weights as if the kernel wrote them: see `Kernel::orders_loads`.
    pub(crate) fn bindings_ordered(self, ordered: bool) -> Self {
        if !ordered {
            return self.bindings();
        }
        let written = |text: String, name: &str| {
            text.replace(&format!("<storage, read> {name}:"), &format!("<storage, read_write> {name}:"))
        };
        self.text(&["quads", "words"].into_iter().fold(BINDINGS.to_owned(), written))
    }

    /// `group_sum`, `group_max` and `start`, which every invocation calls first.
    pub(crate) fn reduce(self, caps: Caps, threads: usize) -> Self {
        let this = self.constant("GROUP_THREADS", threads);
        match caps.subgroups {
            true => this.text(include_str!("shared/reduce_subgroup.wgsl")),
            false => this.text(include_str!("shared/reduce_shared.wgsl")),
        }
    }

    /// `Raw`, `load_unit`, `unit_weights` and `dot_unit` for weights of `ty`, whose areas the immediates `p` give. `dot_unit`
    /// takes x with the halves of each unit divided by `X_LOW` and `X_HIGH`, powers of two.
    pub(crate) fn decoder(self, ty: TensorType) -> Self {
        self.decoder_of(ty, Pair::Loaded)
    }

    /// The same, for units that are loaded long before they are used.
    pub(crate) fn late_decoder(self, ty: TensorType) -> Self {
        self.decoder_of(ty, Pair::Used)
    }

    fn decoder_of(self, ty: TensorType, pair: Pair) -> Self {
        let raw = raw_unit(ty, pair) + &load_unit(ty, "", pair);
        let this = self.text(&raw).float("OFFSET", f32::from(quant_offset(ty))).text(OPAQUE);
        let quants = match (ty, bits(ty)) {
            (TensorType::F32, _) => include_str!("shared/quants_f32.wgsl"),
            (TensorType::BF16, _) => include_str!("shared/quants_bf16.wgsl"),
            (_, None) => include_str!("shared/quants_f16.wgsl"),
            (_, Some(2)) => include_str!("shared/quants_2.wgsl"),
            (_, Some(3)) => include_str!("shared/quants_3.wgsl"),
            (_, Some(4)) => include_str!("shared/quants_4.wgsl"),
            (_, Some(5)) => include_str!("shared/quants_5.wgsl"),
            (_, Some(6)) => include_str!("shared/quants_6.wgsl"),
            (_, Some(_)) => include_str!("shared/quants_8.wgsl"),
        };
        let words = UnitWords::of(ty);
        let scales = match (ty, has_min(ty)) {
            _ if bits(ty).is_none() => include_str!("shared/scales_none.wgsl"),
            (TensorType::Q2_K, _) => include_str!("shared/scales_min_halves.wgsl"),
            (_, true) if words.supers => include_str!("shared/scales_min_bytes.wgsl"),
            (_, true) => include_str!("shared/scales_min_word.wgsl"),
            (_, false) if words.supers => include_str!("shared/scales_halves.wgsl"),
            (_, false) => include_str!("shared/scales_one.wgsl"),
        };
        let this = this.text(quants);
        let this = match (ty, bits(ty)) {
            // These have their own.
            (_, Some(4 | 8)) => this,
            _ => this.text(include_str!("shared/x_plain.wgsl")),
        };
        this.text(include_str!("shared/dot.wgsl")).text(scales)
    }

    /// `kept`: something of every word of a unit as it was loaded, for [`under_way`]; after `late_decoder`.
    pub(crate) fn keeper(self, ty: TensorType) -> Self {
        let unit = UnitWords::of(ty);
        let quads = (0..unit.quads).map(|k| format!("w.q{k}"));
        let shared = [(unit.pairs, "pairs"), (unit.supers, "supers")].into_iter().filter(|(has, _)| *has);
        let words = (0..unit.words).map(|k| word_name(ty, k)).chain(shared.map(|(_, name)| name.to_owned()));
        let words = words.map(|name| format!("vec4<u32>(w.{name}, 0u, 0u, 0u)"));
        let all: Vec<_> = quads.chain(words).collect();
        self.text(&format!("fn kept(w: Raw) -> vec4<u32> {{ return {}; }}", all.join(" ^ ")))
    }

    /// The same loads from a second tensor of the type, whose areas `p` gives under names with `prefix`; after `decoder`.
    pub(crate) fn loader(self, ty: TensorType, prefix: &str) -> Self {
        self.text(&load_unit(ty, prefix, Pair::Loaded))
    }

    /// `unit_words` and `product`, for quantised weights of `ty` and x in 8 bits, of which a kernel keeps `rounded_by` beside the
    /// words; after `decoder`.
    pub(crate) fn words_decoder(self, ty: TensorType) -> Self {
        let words = UnitWords::of(ty);
        let (quants, by) = match (bits(ty), quant_offset(ty)) {
            (Some(2), _) => (include_str!("shared/words_2.wgsl"), 1.0),
            (Some(3), _) => (include_str!("shared/words_3.wgsl"), 1.0),
            (Some(4), 8) => (include_str!("shared/words_4_signed.wgsl"), 0.0625),
            (Some(4), _) => (include_str!("shared/words_4.wgsl"), 1.0),
            (Some(5), _) => (include_str!("shared/words_5.wgsl"), 1.0),
            (Some(6), _) => (include_str!("shared/words_6.wgsl"), 1.0),
            _ => (include_str!("shared/words_8.wgsl"), 1.0),
        };
        let scales = match (ty, has_min(ty)) {
            (TensorType::Q2_K, _) => include_str!("shared/rounded_min_halves.wgsl"),
            (_, true) => include_str!("shared/rounded_min.wgsl"),
            (_, false) if words.supers => include_str!("shared/rounded_halves.wgsl"),
            (_, false) => include_str!("shared/rounded_one.wgsl"),
        };
        self.float("QUANT", by)
            .text(include_str!("shared/dot_words.wgsl"))
            .text(include_str!("shared/words.wgsl"))
            .text(quants)
            .text(scales)
    }

    /// `round_half` and `unit_scales`, for workgroups of `THREADS`.
    pub(crate) fn round_half(self, caps: Caps) -> Self {
        let this =
            self.text(include_str!("shared/round_word.wgsl")).text(include_str!("shared/round_half.wgsl"));
        match caps.subgroups {
            true => this.text(include_str!("shared/other_half_subgroup.wgsl")),
            false => this.text(include_str!("shared/other_half_shared.wgsl")),
        }
    }

    /// `made`, an array of `n_quads`, of which `round_made` makes half units, and `store_half`; after `round_half`.
    pub(crate) fn round_made(self, n_quads: usize) -> Self {
        self.constant("MADE", n_quads)
            .text(include_str!("shared/round_made.wgsl"))
            .text(include_str!("shared/store_half.wgsl"))
    }

    /// `Best`, `key`, `changed_key`, `better`, `store_best`, `load_best` and `group_best`; after `reduce`.
    pub(crate) fn best(self, caps: Caps) -> Self {
        let this = self.text(include_str!("shared/keys.wgsl")).text(include_str!("shared/best.wgsl"));
        match caps.subgroups {
            true => this.text(include_str!("shared/best_subgroup.wgsl")),
            false => this.text(include_str!("shared/best_shared.wgsl")),
        }
    }

    /// `prepare(t, first)`, which every invocation calls before `penalised(logit, i)` is the logit of id `first + i`, `i` below
    /// `chunk`; both do nothing without penalties.
    pub(crate) fn penalties(self, on: bool, chunk: usize) -> Self {
        let this = self.constant("CHUNK", chunk);
        match on {
            true => this.text(include_str!("shared/penalties.wgsl")),
            false => this.text(
                "fn prepare(t: u32, first: u32) {}\nfn penalised(logit: f32, i: u32) -> f32 { return logit; }",
            ),
        }
    }

    /// `select_best`, which puts the best of many in `ordered`; after `best`.
    pub(crate) fn select(self) -> Self {
        self.constant("MOST", MOST_K)
            .constant("MOST_INDEX", MOST_VOCAB - 1)
            .text(include_str!("shared/select.wgsl"))
    }

    /// `gather`: rows of the embedding in format `ty` to scratch.
    pub(crate) fn gather(self, ty: TensorType) -> Self {
        self.decoder(ty).text(include_str!("shared/gather.wgsl"))
    }

    /// `embed(id, t)`, which writes a token's embedding to `p.x`, if it has a format.
    pub(crate) fn embed_chosen(self, embedding: Option<TensorType>) -> Self {
        match embedding {
            Some(ty) => self.gather(ty).text("fn embed(id: u32, t: u32) { gather(id, p.x / 4u, t); }"),
            None => self.text("fn embed(id: u32, t: u32) {}"),
        }
    }

    /// An entry point that calls `start`, and then the kernel's `run(workgroup, thread)`; after `reduce`.
    pub(crate) fn entry(self, caps: Caps) -> Self {
        let (builtins, start) = match caps.subgroups {
            true => (
                ", @builtin(subgroup_invocation_id) lane_id: u32, @builtin(subgroup_size) size: u32",
                "start(t, lane_id, size)",
            ),
            false => ("", "start(t, 0u, 1u)"),
        };
        self.text(&format!(
            "@compute @workgroup_size(GROUP_THREADS)\n\
             fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32{builtins}) {{\n\
             \x20 {start};\n  run(wg.x, t);\n}}"
        ))
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

const BINDINGS: &str = include_str!("shared/bindings.wgsl");

// There are never so many units. NVIDIA's compiler makes one instruction of a mask and this, but two of a mask and a constant.
const OPAQUE: &str = "
// These bits, but so that a compiler does not know them.
fn opaque(bits: u32) -> u32 { return bits | (p.n_units >> 30u); }
// The same for masks that keep the upper half of each byte: the compiler follows single bits, and what is left would be known to it.
fn opaque_upper(bits: u32) -> u32 { return bits | (p.n_units >> 30u << 4u); }
// The bits of 2^23.
fn two_23() -> u32 { return opaque(0x4b000000u); }";

/// When the pair of a unit is taken out of the word that two units share: a thread that does anything with what it loads waits for it
/// there. Products of one row of SmolLM-135M take 2 to 3 % less time if it is done when it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pair {
    Loaded,
    Used,
}

/// The words of a unit, and `pair`, the lower half of which is its pair.
fn raw_unit(ty: TensorType, pair: Pair) -> String {
    let unit = UnitWords::of(ty);
    let mut fields = String::new();
    for k in 0..unit.quads {
        let _ = write!(fields, "q{k}: vec4<u32>, ");
    }
    for k in 0..unit.words {
        let _ = write!(fields, "{}: u32, ", word_name(ty, k));
    }
    let (pair, own) = match (unit.pairs, pair) {
        (false, _) => ("", ""),
        (true, Pair::Loaded) => ("pairs: u32, ", "fn pair(w: Raw) -> u32 { return w.pairs; }\n"),
        (true, Pair::Used) => {
            ("pairs: u32, shift: u32, ", "fn pair(w: Raw) -> u32 { return w.pairs >> w.shift; }\n")
        }
    };
    fields.push_str(pair);
    fields.push_str(if unit.supers { "supers: u32, " } else { "" });
    format!("struct Raw {{ {fields}}}\n{own}")
}

/// What word `k` of a unit is called.
fn word_name(ty: TensorType, k: usize) -> String {
    let unit = UnitWords::of(ty);
    // Types with a scale and a minimum of their own have both in the last word.
    let own_minimum = has_min(ty) && !unit.supers && k + 1 == unit.words;
    if own_minimum { "dm".to_owned() } else { format!("w{k}") }
}

/// Text that has the loads of `units` under way before what comes after it. Compilers put loads off that are used late: NVIDIA's has
/// weights wait until x is there, and past a barrier. Here a branch uses them, which is never taken; they must be as they were loaded, since
/// whatever is done to them is waited for before the branch.
pub(crate) fn under_way(units: &[String]) -> String {
    let kept: Vec<_> = units.iter().map(|unit| format!("kept({unit})")).collect();
    format!("  if (p.n_units == 0u) {{ scratch[0] = bitcast<vec4<f32>>({}); }}\n", kept.join(" ^ "))
}

/// How they are loaded from a tensor whose areas `p` gives under names with `prefix`: `load_{prefix}block_unit`, and by row group
/// `load_{prefix}unit`.
fn load_unit(ty: TensorType, prefix: &str, pair: Pair) -> String {
    let unit = UnitWords::of(ty);
    let n_units = format!("p.{prefix}n_units");
    let mut loads = String::new();
    for k in 0..unit.quads {
        let _ = write!(loads, "quads[p.{prefix}quads + (at * {}u + {k}u) * 8u + row], ", unit.quads);
    }
    for k in 0..unit.words {
        let _ = write!(loads, "words[p.{prefix}words + (at * {}u + {k}u) * 8u + row], ", unit.words);
    }
    if unit.pairs {
        let word = format!("words[p.{prefix}pairs + (block * (({n_units} + 1u) / 2u) + u / 2u) * 8u + row]");
        let _ = match pair {
            Pair::Loaded => write!(loads, "({word} >> (u % 2u * 16u)) & 0xffffu, "),
            Pair::Used => write!(loads, "{word}, u % 2u * 16u, "),
        };
    }
    if unit.supers {
        let _ = write!(
            loads,
            "words[p.{prefix}supers + (block * (({n_units} + 7u) / 8u) + u / 8u) * 8u + row], "
        );
    }
    format!(
        "// The words of unit `u` of row `row` of block `block` of 8 rows.\n\
         fn load_{prefix}block_unit(block: u32, u: u32, row: u32) -> Raw {{\n  let at = block * {n_units} + u;\n  return Raw({loads});\n}}\n\
         // The words of unit `u` of row `r` of row group `g`.\n\
         fn load_{prefix}unit(g: u32, u: u32, r: u32) -> Raw {{ return load_{prefix}block_unit(g * 4u + r / 8u, u, r % 8u); }}\n"
    )
}
