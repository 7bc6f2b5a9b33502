//! Kernels as Metal would be given them, on the CPU: compiled as C++ against `msl-shim`, and run thread by thread.
//!
//! It shows that what naga writes is well formed, that bindings line up, that barriers and SIMD-group functions are met by all,
//! that no index is past an end, that results do not hang on who goes first, and that numbers are right. It cannot show what
//! Apple's compiler, driver and hardware make of the same text.

use super::Memory;
use super::msl::translate;
use super::variants::{APPLE, APPLE_MATRICES, all};
use crate::device::Caps;
use crate::kernels::Kernel;
use gguf::TensorType;
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs};

const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/msl-shim");
const HEADERS: [&str; 2] =
    [include_str!("../../msl-shim/metal_stdlib"), include_str!("../../msl-shim/machine.h")];
/// Metal compiles with fast math, too.
const OPTIONS: [&str; 5] = ["-std=c++17", "-O1", "-ffast-math", "-fno-strict-aliasing", "-w"];

/// A machine for kernels.
#[derive(Debug, Default)]
pub(super) struct Emulator {
    n_runs: AtomicU64,
}

impl Emulator {
    /// Runs a dispatch. Of two runs after one another, one has the threads in order and one in reverse.
    pub(super) fn run(
        &self,
        kernel: Kernel,
        caps: Caps,
        params: &[u8],
        grid: [u32; 3],
        memory: &Memory,
    ) -> Memory {
        let name = kernel.name();
        let program = program(&name, kernel.source(caps), caps);
        self.execute(&program, params, grid, memory).unwrap_or_else(|said| panic!("{name}: {said}"))
    }

    /// What a program leaves, or what it says when it fails.
    fn execute(
        &self,
        program: &Path,
        params: &[u8],
        grid: [u32; 3],
        memory: &Memory,
    ) -> Result<Memory, String> {
        let run = self.n_runs.fetch_add(1, Ordering::Relaxed);
        let mut immediates = [0u32; 32];
        bytemuck::cast_slice_mut(&mut immediates)[..params.len()].copy_from_slice(params);
        let parts = [&memory.weights, &memory.kv, &memory.scratch, &memory.tables, &memory.tokens];
        let mut input = vec![(run % 2) as u32];
        input.extend(grid);
        input.extend(immediates);
        input.extend(parts.map(|words| words.len() as u32));
        parts.iter().for_each(|words| input.extend(*words));

        let files = ["input", "output"].map(|what| {
            folder().join(format!("{what}-{}-{:p}-{run}", std::process::id(), std::ptr::from_ref(self)))
        });
        fs::write(&files[0], bytemuck::cast_slice::<u32, u8>(&input)).unwrap();
        let done = Command::new(program).args(&files).output().unwrap();
        let output = fs::read(&files[1]).unwrap_or_default();
        files.iter().for_each(|file| fs::remove_file(file).unwrap());
        if !done.status.success() {
            return Err(format!("{}: {}", done.status, String::from_utf8_lossy(&done.stderr)));
        }
        let output: Vec<u32> = bytemuck::pod_collect_to_vec(&output);
        let (kv, rest) = output.split_at(memory.kv.len());
        let (scratch, tokens) = rest.split_at(memory.scratch.len());
        assert_eq!(tokens.len(), memory.tokens.len(), "{}", program.display());
        Ok(Memory { kv: kv.to_vec(), scratch: scratch.to_vec(), tokens: tokens.to_vec(), ..memory.clone() })
    }
}

/// Where programs are kept, beside the tests' own.
fn folder() -> PathBuf {
    let folder = env::current_exe().unwrap().with_file_name("msl-smoke");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The program of a shader, compiled if there is none from the same text.
fn program(name: &str, wgsl: String, caps: Caps) -> PathBuf {
    let (msl, n_threads) = translate(name, wgsl, caps);
    let mut source = c_plus_plus(&msl);
    let _ = writeln!(
        source,
        "int main(int, char** arguments) {{ return machine::run(arguments, {n_threads}, run_thread); }}"
    );
    let mut hasher = DefaultHasher::new();
    (&source, HEADERS, OPTIONS, compiler()).hash(&mut hasher);
    let program = folder().join(format!("{name}-{:016x}", hasher.finish()));
    if !program.exists() {
        compile(name, &source, &program);
    }
    program
}

fn compile(name: &str, source: &str, program: &Path) {
    // Another thread may be at the same; the last one's file replaces an equal one.
    let unique = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    let (text, made) = (program.with_extension(format!("{unique}.cpp")), program.with_extension(unique));
    fs::write(&text, source).unwrap();
    call_compiler(name, &["-o".as_ref(), made.as_ref(), text.as_ref()]);
    fs::remove_file(text).unwrap();
    fs::rename(made, program).unwrap();
}

fn call_compiler(name: &str, arguments: &[&OsStr]) {
    let mut command = Command::new(compiler());
    let done = command.args(OPTIONS).args(["-I", SHIM]).args(arguments).output();
    let done = done.unwrap_or_else(|error| panic!("{}: {error}", compiler()));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{name}: {said}");
}

fn compiler() -> String {
    env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

/// MSL as C++, but for what the shim gives other meanings to: literals are f32, arrays check their indices.
fn c_plus_plus(msl: &str) -> String {
    let mut text = String::new();
    for line in float_literals(msl).lines() {
        let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
        let _ = match words[..] {
            // typedef T name[1];
            ["typedef", of, name] if name.ends_with("[1]") => {
                writeln!(text, "typedef machine::Buffer<{of}> {};", name.trim_end_matches("[1]"))
            }
            // T inner[n];
            [of, inner] if inner.starts_with("inner[") => {
                let n = inner.trim_start_matches("inner[").trim_end_matches(']');
                writeln!(text, "    machine::Array<{of}, {n}> inner;")
            }
            _ => writeln!(text, "{line}"),
        };
    }
    let _ = writeln!(text, "static void run_thread() {{ main_({}); }}", arguments(&text));
    text
}

/// What the entry point is called with.
fn arguments(text: &str) -> String {
    let (_, rest) = text.split_once("kernel void main_(").expect("an entry point");
    let (parameters, _) = rest.split_once("\n) {").expect("its end");
    let mut shared = String::from("0");
    let arguments: Vec<String> = parameters
        .split("\n,")
        .map(|parameter| {
            let parameter = parameter.trim();
            let (declared, attribute) = parameter.split_once(" [[").unwrap_or((parameter, ""));
            let attribute = attribute.trim_end_matches("]]");
            let is_a = |what| declared.strip_prefix(what).map(|d: &str| d.split(['&', ' ']).next().unwrap_or(""));
            if let Some(of) = is_a("threadgroup ") {
                let argument = format!("machine::shared<{of}, {shared}>()");
                // The next one begins at a multiple of 16 bytes, as Metal has it.
                let _ = write!(shared, " + (sizeof({of}) + 15) / 16 * 16");
                return argument;
            }
            if let (Some(of), Some(slot)) =
                (is_a("device ").or(is_a("constant ")), attribute.strip_prefix("buffer("))
            {
                return format!("machine::Bound<{of}>::at({}", slot);
            }
            match attribute {
                "threadgroup_position_in_grid" => {
                    "metal::uint3(machine::dispatch.group[0], machine::dispatch.group[1], machine::dispatch.group[2])"
                }
                "thread_index_in_threadgroup" => "metal::uint(machine::current)",
                "thread_index_in_simdgroup" => "metal::uint(machine::current % machine::LANES)",
                "simdgroup_index_in_threadgroup" => "metal::uint(machine::current / machine::LANES)",
                "threads_per_simdgroup" => "metal::uint(machine::LANES)",
                other => panic!("the shim does not know [[{other}]]"),
            }
            .to_owned()
        })
        .collect();
    arguments.join(", ")
}

/// The text with an f behind every literal that has a point: C++ would take it for f64.
fn float_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut chars = text.chars().peekable();
    let mut in_name = false;
    while let Some(c) = chars.next() {
        out.push(c);
        if !c.is_ascii_digit() || in_name {
            in_name = c.is_alphanumeric() || c == '_';
            continue;
        }
        let begin = out.len() - 1;
        let mut point = false;
        while let Some(&next) = chars.peek().filter(|next| next.is_ascii_digit() || **next == '.') {
            point |= next == '.';
            out.push(next);
            chars.next();
        }
        if point && chars.next_if_eq(&'h').is_some() {
            // f16.
            let number = out.split_off(begin);
            let _ = write!(out, "half({number}f)");
        } else if point {
            out.push('f');
        }
    }
    out
}

#[test]
#[ignore = "compiles MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke_every_variant_is_well_formed() {
    let mut all_of_them = "#include <metal_stdlib>\n#include <simd/simd.h>\n".to_owned();
    let caps = APPLE_MATRICES;
    // Tiles on matrix units are many, and take long: in three formats, of which two are quantised, with a minimum and without.
    let formats = [TensorType::F16, TensorType::Q4_0, TensorType::Q5_K];
    let chosen = |kernel: &Kernel| match kernel {
        Kernel::GemmMatrix(kernel) => formats.contains(&kernel.ty),
        _ => true,
    };
    for (i, kernel) in all(caps).into_iter().filter(chosen).enumerate() {
        let (msl, _) = translate(&kernel.name(), kernel.source(caps), caps);
        let _ = writeln!(all_of_them, "namespace {}_{i} {{\n{}}}", kernel.name(), c_plus_plus(&msl));
    }
    let text = folder().join("every-variant.cpp");
    fs::write(&text, all_of_them).unwrap();
    call_compiler("every variant", &["-fsyntax-only".as_ref(), text.as_ref()]);
}

#[test]
fn literals_with_a_point_are_f32() {
    assert_eq!(float_literals("a1.x + 0.5 * (12u - 3.0) / b_2[7];"), "a1.x + 0.5f * (12u - 3.0f) / b_2[7];");
    assert_eq!(float_literals("(0.25h - 2.0h)"), "(half(0.25f) - half(2.0f))");
}

#[test]
#[ignore = "compiles MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke_shows_faults() {
    let outcome = |name: &str, body: &str| {
        let wgsl = format!(
            "@group(2) @binding(0) var<storage, read_write> scratch: array<vec4<f32>>;\n\
             var<workgroup> sums: array<f32, 64>;\n\
             @compute @workgroup_size(64)\n\
             fn main(@builtin(local_invocation_index) t: u32) {{ {body} }}"
        );
        let memory = Memory { scratch: vec![0; 4 * 64], ..Memory::default() };
        let emulator = Emulator::default();
        let program = program(name, wgsl, APPLE);
        let [first, second] = [0; 2].map(|_| emulator.execute(&program, &[], [1, 1, 1], &memory));
        let [first, second] = [first, second].map(|outcome| outcome.map(|memory| memory.scratch));
        let same = first == second;
        (first, same)
    };
    let fails = |name, body, what: &str| {
        let (result, _) = outcome(name, body);
        let said = result.expect_err(name);
        assert!(said.contains(what), "{name}: {said}");
    };
    fails("past_a_buffer", "scratch[t + 1u] = vec4<f32>();", "an index past the end");
    fails("past_an_array", "sums[t] = 1.0; scratch[t].x = sums[t + 1u];", "an index past the end");
    fails("divergent_sum", "if (t < 20u) { scratch[t].x = subgroupAdd(1.0); }", "in divergent control flow");
    fails("divergent_barrier", "if (t < 20u) { workgroupBarrier(); }", "not all threads reach");
    let race = "sums[t] = f32(t); scratch[t].x = sums[63u - t];";
    let (_, same) = outcome("race", race);
    assert!(!same, "a race does not show");
    let right = "sums[t] = f32(t); workgroupBarrier(); scratch[t].x = subgroupAdd(sums[63u - t]);";
    let (result, same) = outcome("right", right);
    assert!(same, "the order of threads shows");
    assert_eq!(f32::from_bits(result.unwrap()[0]), (32..64).sum::<u32>() as f32);
}
