//! Every kernel as wgpu makes Metal see it, without a Mac: the text, and what is in it.
//!
//! The options are those of wgpu-hal 30.0.1: `metal/device.rs` (`load_shader`, `create_pipeline_layout`) and, for SPIR-V,
//! `vulkan/adapter.rs`, with the checks off as in `pipeline`.

use super::variants::{APPLE, APPLE_MATRICES, LEAST, MATRICES, all, on_matrix_units};
use crate::device::{Caps, IMMEDIATE_BYTES};
use crate::kernels::Kernel;
use naga::back::{msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Expression, Module, ResourceBinding, ShaderStage, Statement, TypeInner};

const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

/// The bindings of `pipeline`: `(group, binding, written)`.
const BINDINGS: [(u32, u32, bool); 7] =
    [(0, 0, false), (0, 1, false), (1, 0, true), (2, 0, true), (2, 1, false), (2, 2, true), (2, 3, true)];

/// Where the immediates are, and behind them the buffers in the order of [`BINDINGS`].
pub(super) const IMMEDIATES_SLOT: u8 = 0;

/// A kernel, read and validated with what a device is asked for.
struct Shader {
    name: String,
    source: String,
    module: Module,
    info: ModuleInfo,
}

impl Shader {
    fn new(kernel: Kernel, caps: Caps) -> Self {
        Self::parse(kernel.name(), kernel.source(caps), caps)
    }

    fn parse(name: String, source: String, caps: Caps) -> Self {
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
        // The second: `unpack2x16float` and `pack2x16float`, which every backend but OpenGL has.
        let mut capabilities = Capabilities::IMMEDIATES | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        capabilities.set(Capabilities::SUBGROUP, caps.subgroups);
        capabilities.set(Capabilities::SUBGROUP_BARRIER, caps.in_step);
        let matrices = Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX;
        capabilities.set(matrices, caps.matrices.is_some());
        let info = Validator::new(ValidationFlags::all(), capabilities)
            .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
            .subgroup_operations(naga::valid::SubgroupOperationSet::all())
            .validate(&module)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
        Self { name, source, module, info }
    }

    /// The text that Metal would compile.
    fn msl(&self) -> String {
        let slots = (IMMEDIATES_SLOT + 1..).zip(BINDINGS);
        let resources = slots.clone().map(|(slot, (group, binding, mutable))| {
            let target = msl::BindTarget { buffer: Some(slot), mutable, ..msl::BindTarget::default() };
            (ResourceBinding { group, binding }, target)
        });
        let resources = msl::EntryPointResources {
            resources: resources.collect(),
            immediates_buffer: Some(IMMEDIATES_SLOT),
            sizes_buffer: slots.last().map(|(slot, _)| slot + 1),
        };
        let options = msl::Options {
            // That of macOS 15. Others differ in the version's comment only.
            lang_version: (3, 2),
            per_entry_point_map: [("main".to_owned(), resources)].into(),
            inline_samplers: Vec::new(),
            spirv_cross_compatibility: false,
            fake_missing_bindings: false,
            bounds_check_policies: UNCHECKED,
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: false,
            task_dispatch_limits: None,
            mesh_shader_primitive_indices_clamp: false,
            emit_int_div_checks: false,
            ray_query_initialization_tracking: false,
        };
        let pipeline = msl::PipelineOptions {
            entry_point: Some((ShaderStage::Compute, "main".to_owned())),
            vertex_pulling_transform: true,
            ..msl::PipelineOptions::default()
        };
        let (text, _) = msl::write_string(&self.module, &self.info, &options, &pipeline)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        text
    }

    /// The words that Vulkan would be given.
    fn spir_v(&self) -> Vec<u32> {
        let options = spv::Options {
            lang_version: (1, 6),
            flags: spv::WriterFlags::empty(),
            bounds_check_policies: UNCHECKED,
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: false,
            emit_int_div_checks: false,
            ..spv::Options::default()
        };
        let pipeline =
            spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".to_owned() };
        spv::write_vec(&self.module, &self.info, &options, Some(&pipeline))
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn workgroup_size(&self) -> u32 {
        self.module.entry_points[0].workgroup_size.iter().product()
    }

    /// As Metal allots it: each variable from a multiple of 16 on.
    fn workgroup_bytes(&self) -> u32 {
        let used = self.info.get_entry_point(0);
        self.module
            .global_variables
            .iter()
            .filter(|(handle, variable)| {
                variable.space == AddressSpace::WorkGroup && !used[*handle].is_empty()
            })
            .map(|(_, variable)| {
                self.module.types[variable.ty].inner.size(self.module.to_ctx()).next_multiple_of(16)
            })
            .sum()
    }

    /// Bytes of its immediates.
    fn immediate_bytes(&self) -> u32 {
        let immediates =
            self.module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::Immediate);
        immediates.map(|(_, v)| self.module.types[v.ty].inner.size(self.module.to_ctx())).sum()
    }

    /// What in it Metal would refuse, or do otherwise than it says.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (_, ty) in self.module.types.iter() {
            // naga 30 writes a type of its own for it, which nothing converts to.
            if let (Some(alias), TypeInner::Array { .. }) = (&ty.name, &ty.inner) {
                faults.push(format!("{alias}, an alias of an array"));
            }
        }
        let functions = self.module.functions.iter().map(|(handle, function)| (&self.info[handle], function));
        let main = (self.info.get_entry_point(0), &self.module.entry_points[0].function);
        for (info, function) in functions.chain([main]) {
            let inner = |handle: naga::Handle<Expression>| info[handle].ty.inner_with(&self.module.types);
            for (_, expression) in function.expressions.iter() {
                if let Expression::CooperativeLoad { columns, rows, ref data, .. } = *expression {
                    use naga::CooperativeSize::Eight;
                    if (columns, rows) != (Eight, Eight) {
                        faults.push("a matrix that is not 8 x 8".to_owned());
                    }
                    // Metal loads matrices from scalars only; naga writes any pointer.
                    let pointee = inner(data.pointer).pointer_base_type();
                    let scalar = pointee
                        .is_some_and(|ty| matches!(ty.inner_with(&self.module.types), TypeInner::Scalar(_)));
                    if !scalar {
                        faults.push("a matrix is loaded from vectors".to_owned());
                    }
                }
            }
            each_statement(&function.body, &mut |statement| match statement {
                Statement::Store { pointer, .. } => {
                    if let TypeInner::ValuePointer { size: None, space, .. } = inner(*pointer)
                        && matches!(space, AddressSpace::Storage { .. } | AddressSpace::WorkGroup)
                    {
                        faults.push(format!("a store to a component of a vector in {space:?} memory"));
                    }
                }
                // Apple's compiler gets subgroup operations in it wrong (gfx-rs/wgpu issue 10135).
                Statement::Switch { .. } => faults.push("a switch".to_owned()),
                _ => (),
            });
        }
        faults
    }
}

/// WGSL in Metal's language, and the threads of its workgroups.
pub(super) fn translate(name: &str, source: String, caps: Caps) -> (String, u32) {
    let shader = Shader::parse(name.to_owned(), source, caps);
    (shader.msl(), shader.workgroup_size())
}

fn each_statement(block: &naga::Block, visit: &mut impl FnMut(&Statement)) {
    for statement in block {
        visit(statement);
        match statement {
            Statement::Block(block) => each_statement(block, visit),
            Statement::If { accept, reject, .. } => {
                each_statement(accept, visit);
                each_statement(reject, visit);
            }
            Statement::Loop { body, continuing, .. } => {
                each_statement(body, visit);
                each_statement(continuing, visit);
            }
            Statement::Switch { cases, .. } => {
                cases.iter().for_each(|case| each_statement(&case.body, visit));
            }
            _ => (),
        }
    }
}

/// WGSL's names for subgroup operations, and Metal's.
const OPERATIONS: [[&str; 2]; 4] = [
    ["subgroupAdd(", "simd_sum("],
    ["subgroupMax(", "simd_max("],
    ["subgroupMin(", "simd_min("],
    ["subgroupShuffleXor(", "simd_shuffle_xor("],
];

#[test]
fn every_kernel_becomes_msl_that_is_as_meant() {
    let mut with_operations = 0;
    let kernels = |caps| all(caps).into_iter().map(move |kernel| (caps, kernel));
    let matrices = on_matrix_units(APPLE_MATRICES).map(|kernel| (APPLE_MATRICES, kernel));
    for (caps, kernel) in kernels(APPLE).chain(kernels(LEAST)).chain(matrices) {
        let shader = Shader::new(kernel, caps);
        let name = format!("{} with {caps:?}", shader.name);
        let text = shader.msl();
        let limit = format!("[[max_total_threads_per_threadgroup({})]]", shader.workgroup_size());
        assert!(text.contains(&limit), "{name}: no {limit}");
        for unwanted in ["naga_div", "naga_mod", "loop_bound", "_buffer_sizes.", "min(unsigned("] {
            assert!(!text.contains(unwanted), "{name}: {unwanted}");
        }
        for [wgsl, metal] in OPERATIONS {
            assert_eq!(shader.source.contains(wgsl), text.contains(metal), "{name}: {wgsl}, {metal}");
        }
        let operation = text.contains("metal::simd_");
        assert!(caps.subgroups || !operation, "{name}: a subgroup operation");
        with_operations += usize::from(operation);

        assert_eq!(shader.faults(), [""; 0], "{name}");
        let bytes = shader.workgroup_bytes();
        assert!(bytes <= caps.workgroup_memory, "{name}: {bytes} bytes of workgroup memory");
        assert!(shader.workgroup_size() <= caps.max_threads, "{name}: {}", shader.workgroup_size());
        assert!((1..=IMMEDIATE_BYTES).contains(&shader.immediate_bytes()), "{name}: immediates");
    }
    assert!(with_operations > 50, "{with_operations} variants use SIMD groups");
}

#[test]
fn every_kernel_becomes_spir_v() {
    let plain = all(LEAST).into_iter().map(|kernel| (LEAST, kernel));
    for (caps, kernel) in plain.chain(on_matrix_units(MATRICES).map(|kernel| (MATRICES, kernel))) {
        let words = Shader::new(kernel, caps).spir_v();
        // The magic number, and the version.
        assert_eq!(words[..2], [0x0723_0203, 0x0001_0600], "{}", kernel.name());
    }
}

#[test]
fn faults_are_found() {
    let faults = |body: &str| {
        let source = format!(
            "@group(2) @binding(0) var<storage, read_write> scratch: array<vec4<f32>>;\n\
             var<workgroup> shared_quad: vec4<f32>;\n\
             @compute @workgroup_size(32) fn main(@builtin(local_invocation_index) t: u32) {{ {body} }}"
        );
        Shader::parse(body.to_owned(), source, APPLE).faults().len()
    };
    assert_eq!(faults("scratch[t] = vec4<f32>(); shared_quad = scratch[t + 1u];"), 0);
    assert_eq!(faults("var own = vec4<f32>(); own.x = 1.0; own[t % 4u] = 2.0; scratch[t] = own;"), 0);
    assert_eq!(faults("scratch[t].y = 1.0;"), 1);
    assert_eq!(faults("scratch[t / 4u][t % 4u] = 1.0;"), 1);
    assert_eq!(faults("if (t == 0u) { shared_quad.x = 1.0; }"), 1);
    assert_eq!(faults("scratch[t] = array<vec4<f32>, 2>()[t % 2u];"), 0);
    assert_eq!(
        faults("scratch[t] = array<vec4<f32>, 2>()[t % 2u]; } alias Two = array<vec4<f32>, 2>; fn f() {"),
        1
    );
    assert_eq!(faults("switch t { case 1u: { scratch[t].x = 1.0; } default: {} }"), 2);
}
