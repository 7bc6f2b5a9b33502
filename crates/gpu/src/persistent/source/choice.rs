//! The text of the choice of a token: the best row of all, or one of the best few.

use super::Source;
use super::deal::Deal;
use super::exchange::Word;
use crate::kernels::sampling::MOST_K;
use crate::shader::Shader;
use std::fmt::Write;

/// Candidates of a draw that are put in order at a time, behind the best of those before: there are rarely more.
const MORE: usize = 192;
/// Codes that a draw keeps, and sums and logits, which take turns: room for those of the best few at least.
pub(in crate::persistent) const CODES: usize = 2 * MOST_K + MORE;
pub(in crate::persistent) const LEAST_PARTIALS: usize = 4 * MOST_K;
/// A group's candidates of which a list is kept: there are rarely more of them either.
const MOST_LISTED: usize = MOST_K;

impl Source {
    /// What a draw needs.
    pub(super) fn draws(&self, shader: Shader) -> Shader {
        debug_assert!(self.geometry.groups <= MOST_K + MORE, "the groups' best rows have no room");
        shader
            .constant("MOST", MOST_K)
            .constant("MORE", MORE)
            .constant("MOST_LISTED", MOST_LISTED)
            .constant("OWN_ROWS", self.shape.head_rows(&self.geometry))
            .text(if self.shape.rounds { CODES_IN_ROUNDED } else { CODES_APART })
            .text(include_str!("../draw.wgsl"))
            .text(include_str!("../../shared/never.wgsl"))
            .text(include_str!("../../shared/draw_one.wgsl"))
            .text(&include_str!("../../shared/philox.wgsl").replace("PHILOX_ROUNDS", "p.philox_rounds"))
    }

    /// `choose` or `draw`.
    pub(super) fn choice(&self, text: &mut String) {
        let deal = self.deal(self.geometry.groups);
        if self.geometry.draws {
            return self.draw(text, deal);
        }
        let taken = (0..deal.pieces()).fold(String::new(), |text, k| {
            text + &format!("  best = better(best, taken_best(word{}, word{}));\n", 2 * k, 2 * k + 1)
        });
        let _ = writeln!(
            text,
            "// The best of all rows; `own` is the best of the group's.\nfn choose(own: Best) -> u32 {{\n\
             \x20 storageBarrier();\n  if (t == 0u && alive()) {{ publish_best(own); }}\n\
             {}  var best = NOTHING;\n{taken}  let id = min(group_best(best).index, N_VOCAB - 1u);\n\
             \x20 storageBarrier();\n  return id;\n}}",
            self.wait_for_bests(deal)
        );
    }

    fn draw(&self, text: &mut String, deal: Deal) {
        let each = |line: &dyn Fn(usize, String) -> String| {
            (0..deal.pieces()).fold(String::new(), |text, k| text + &line(k, deal.index(k)))
        };
        let bests = each(&|k, g| {
            let code = format!("code(taken_best(word{}, word{}))", 2 * k, 2 * k + 1);
            format!("  if ({}) {{ put_code({g}, {code}); }}\n", deal.has(k))
        });
        let counts: Vec<_> =
            (0..deal.pieces()).map(|k| Word::of(deal, k, |g| format!("AT_COUNTS + {g}"))).collect();
        let own = each(&|k, _| {
            format!(
                "  let n{k} = select(0u, min(word{k} >> 1u, MOST), {});\n  var first{k} = 0u;\n\
                 \x20 if (n{k} > 0u) {{ first{k} = atomicAdd(&n_told, n{k}); }}\n",
                deal.has(k)
            )
        });
        let take = each(&|k, g| {
            format!(
                "    for (var i = 0u; i < n{k}; i += 1u) {{ take_candidate({g}, i, first{k} + i - done, held); }}\n"
            )
        });
        let _ = writeln!(
            text,
            "// One of the best `p.k` rows of all; `own` is the best of the group's, `even` a random number.\n\
             fn draw(own: Best, even: f32) -> u32 {{\n{BEGIN}  {{\n{}{bests}  }}\n{TELL}{}{HEAR}{own}{COUNT}{take}{ORDER}}}",
            self.wait_for_bests(deal),
            self.wait(&counts, "tag"),
        );
    }

    /// For what each group has told of its best row, two words.
    fn wait_for_bests(&self, deal: Deal) -> String {
        let word = |i: usize| Word::of(deal, i / 2, |t| format!("AT_BEST + 2u * {t} + {}u", i % 2));
        let words: Vec<_> = (0..2 * deal.pieces()).map(word).collect();
        self.wait(&words, "tag")
    }
}

// Where there are fewer groups than candidates, each tells of a later one of its rows.
const BEGIN: &str = "
  let depth = (p.k + N_GROUPS - 1u) / N_GROUPS;
  if (t == 0u) {
    atomicStore(&n_listed, 0u);
    atomicStore(&n_told, 0u);
    last_code = vec2<u32>(0u);
  }
  var told = own;
  if (depth > 1u) { told = nth_best(depth); }
  if (t == 0u && alive()) { publish_best(told); }
";
const TELL: &str = "
  workgroupBarrier();
  find_last((p.k + depth - 1u) / depth);
  workgroupBarrier();
  let n = tell_candidates();
  // Lists are seen before their lengths are, and so are keys and values of this token.
  storageBarrier();
  if (t == 0u && alive()) { publish_word(AT_COUNTS + wg, n << 1u); }
";
const HEAR: &str = "  storageBarrier();
";
const COUNT: &str = "
  workgroupBarrier();
  if (t == 0u) { all_told = atomicLoad(&n_told); }
  let n_all = workgroupUniformLoad(&all_told);
  var held = 0u;
  for (var done = 0u; done < n_all; done += MORE) {
    if (t < held) { put_code(t, ordered_code(t)); }
";
const ORDER: &str = "
    workgroupBarrier();
    let some = held + min(MORE, n_all - done);
    put_in_order(some);
    held = min(some, p.k);
    workgroupBarrier();
  }
  let id = draw_one(t, max(held, 1u), even);
  workgroupBarrier();
  return id;
";

// What was staged for the head is done with.
const CODES_IN_ROUNDED: &str = "
fn code_at(i: u32) -> vec2<u32> { return rounded[i].xy; }
fn put_code(i: u32, code: vec2<u32>) { rounded[i] = vec4<u32>(code, 0u, 0u); }";
const CODES_APART: &str = "
var<workgroup> codes: array<vec2<u32>, 2u * MOST + MORE>;
fn code_at(i: u32) -> vec2<u32> { return codes[i]; }
fn put_code(i: u32, code: vec2<u32>) { codes[i] = code; }";
