//! Pipelines: the one place where shaders become them.

use crate::device::{Gpu, IMMEDIATE_BYTES};
use crate::error::GpuError;
use crate::kernels::Kernel;
use crate::pipeline_cache::DiskCache;
use std::collections::HashMap;
use std::path::Path;
use wgpu::{BindGroup, BindGroupLayout, Buffer, ComputePipeline, PipelineLayout};

/// Whether shaders keep the checks that wgpu adds to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checks {
    /// Bounds, loops and divisions checked, workgroup memory zeroed: for tests.
    On,
    /// None of it: what the kernels touch is bounded by their plans, and tested.
    Off,
}

/// Compiled kernels of one device, and the layout that all of them share.
#[derive(Debug)]
pub(crate) struct Pipelines {
    layout: PipelineLayout,
    groups: [BindGroupLayout; 3],
    /// The same for kernels whose loads of weights are ordered, and how weights are bound for them.
    ordered: (PipelineLayout, BindGroupLayout),
    checks: Checks,
    compiled: HashMap<Kernel, ComputePipeline>,
    disk: Option<DiskCache>,
}

impl Pipelines {
    pub(crate) fn new(gpu: &Gpu, checks: Checks) -> Self {
        let group = |label: &str, read_only: &[bool]| group_layout(gpu, label, read_only);
        let groups = [
            group("weights", &[true, true]),
            group("kv", &[false]),
            group("scratch", &[false, true, false, false]),
        ];
        let ordered = group("ordered weights", &[false, false]);
        let [weights, kv, scratch] = groups.each_ref().map(Some);
        let of = |weights| layout(gpu, &[weights, kv, scratch]);
        let (layout, ordered) = (of(weights), (of(Some(&ordered)), ordered));
        Self { layout, groups, ordered, checks, compiled: HashMap::new(), disk: None }
    }

    /// With what earlier runs compiled, kept in `folder`, if there is one.
    pub(crate) fn cached(self, gpu: &Gpu, folder: Option<&Path>) -> Self {
        Self { disk: folder.and_then(|folder| DiskCache::open(gpu, folder)), ..self }
    }

    pub(crate) fn weights(&self, gpu: &Gpu, weights: &Buffer) -> WeightsGroup {
        WeightsGroup {
            read: self.bind(gpu, 0, &[weights, weights]),
            ordered: bind(gpu, &self.ordered.1, &[weights, weights]),
        }
    }

    pub(crate) fn kv(&self, gpu: &Gpu, kv: &Buffer) -> BindGroup {
        self.bind(gpu, 1, &[kv])
    }

    pub(crate) fn scratch(&self, gpu: &Gpu, scratch: &Buffer, tables: &Buffer, tokens: &Buffer) -> BindGroup {
        // Scratch again at the end: as f16, for kernels that have such.
        self.bind(gpu, 2, &[scratch, tables, tokens, scratch])
    }

    /// For kernels that see `n` buffers of weights behind the first; `None` for those that see none.
    pub(crate) fn more_weights(&self, gpu: &Gpu, n: usize) -> Option<MoreWeights> {
        let make = || {
            let group = group_layout(gpu, "more weights", &vec![true; 2 * n]);
            let [weights, kv, scratch] = self.groups.each_ref().map(Some);
            MoreWeights { layout: layout(gpu, &[weights, kv, scratch, Some(&group)]), group }
        };
        (n > 0).then(make)
    }

    fn bind(&self, gpu: &Gpu, group: usize, buffers: &[&Buffer]) -> BindGroup {
        bind(gpu, &self.groups[group], buffers)
    }

    /// Compiles what is not compiled yet, on several threads.
    pub(crate) fn prepare(
        &mut self,
        gpu: &Gpu,
        kernels: impl IntoIterator<Item = Kernel>,
    ) -> Result<(), GpuError> {
        let made = self.compile_missing(gpu, kernels)?;
        self.adopt(made);
        Ok(())
    }

    /// What is not compiled yet of `kernels`, compiled on several threads.
    pub(crate) fn compile_missing(
        &self,
        gpu: &Gpu,
        kernels: impl IntoIterator<Item = Kernel>,
    ) -> Result<Made, GpuError> {
        let mut missing: Vec<Kernel> = Vec::new();
        for kernel in kernels {
            if !self.compiled.contains_key(&kernel) && !missing.contains(&kernel) {
                missing.push(kernel);
            }
        }
        // To ask how many threads there are, and to start one, takes longer than to plan a prompt's steps.
        if missing.is_empty() {
            return Ok(Made::new());
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(missing.len());
        let made = std::thread::scope(|scope| {
            let share = |i| missing.iter().skip(i).step_by(threads);
            let workers: Vec<_> = (0..threads)
                .map(|i| {
                    scope.spawn(move || {
                        share(i).map(|&k| Ok((k, self.compile(gpu, k)?))).collect::<Result<Vec<_>, _>>()
                    })
                })
                .collect();
            workers.into_iter().map(joined).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(made.into_iter().flatten().collect())
    }

    /// Has what was compiled from here on, and keeps it on disk.
    pub(crate) fn adopt(&mut self, made: Made) {
        if !made.is_empty() {
            self.compiled.extend(made);
            self.save();
        }
    }

    /// Keeps on disk what was compiled since.
    pub(crate) fn save(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.save();
        }
    }

    /// A kernel that was prepared.
    pub(crate) fn get(&self, kernel: &Kernel) -> &ComputePipeline {
        &self.compiled[kernel]
    }

    fn compile(&self, gpu: &Gpu, kernel: Kernel) -> Result<ComputePipeline, GpuError> {
        let layout = if kernel.orders_loads() { &self.ordered.0 } else { &self.layout };
        self.compile_with(gpu, &kernel.name(), kernel.source(gpu.caps), layout)
    }

    /// A pipeline from a shader that is not one of the kernels, but sees the same buffers, and `more` of weights.
    pub(crate) fn compile_text(
        &self,
        gpu: &Gpu,
        name: &str,
        text: String,
        more: Option<&MoreWeights>,
    ) -> Result<ComputePipeline, GpuError> {
        self.compile_with(gpu, name, text, more.map_or(&self.layout, |more| &more.layout))
    }

    #[allow(unsafe_code, reason = "shaders without the checks that wgpu adds")]
    #[expect(clippy::disallowed_methods, reason = "the one place where pipelines are made")]
    fn compile_with(
        &self,
        gpu: &Gpu,
        name: &str,
        text: String,
        layout: &PipelineLayout,
    ) -> Result<ComputePipeline, GpuError> {
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(name), source: wgpu::ShaderSource::Wgsl(text.into()) };
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = match self.checks {
            Checks::On => gpu.device.create_shader_module(descriptor),
            // SAFETY: every index that a kernel forms is bounded by the plan that launches it; the tests run the same shaders
            // with checks, compare every bit, and put guards around every region.
            Checks::Off => unsafe {
                gpu.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            },
        };
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(name),
            layout: Some(layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: self.checks == Checks::On,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: self.disk.as_ref().map(|disk| &disk.cache),
        });
        match pollster::block_on(scope.pop()) {
            Some(error) => {
                Err(GpuError::Refused { what: format!("kernel {name}"), message: error.to_string() })
            }
            None => Ok(pipeline),
        }
    }
}

/// A buffer of weights as kernels see it.
#[derive(Debug)]
pub(crate) struct WeightsGroup {
    pub(crate) read: BindGroup,
    ordered: BindGroup,
}

impl WeightsGroup {
    pub(crate) fn of(&self, kernel: &Kernel) -> &BindGroup {
        if kernel.orders_loads() { &self.ordered } else { &self.read }
    }
}

/// Kernels that have just been compiled.
pub(crate) type Made = Vec<(Kernel, ComputePipeline)>;

/// What a thread has made; its panic goes on in this one.
pub(crate) fn joined<T>(worker: std::thread::ScopedJoinHandle<'_, T>) -> T {
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// How buffers of weights behind the first are bound: each twice, in a group of their own.
#[derive(Debug)]
pub(crate) struct MoreWeights {
    layout: PipelineLayout,
    group: BindGroupLayout,
}

impl MoreWeights {
    pub(crate) fn bind(&self, gpu: &Gpu, buffers: &[Buffer]) -> BindGroup {
        let twice: Vec<&Buffer> = buffers.iter().flat_map(|buffer| [buffer, buffer]).collect();
        bind(gpu, &self.group, &twice)
    }
}

fn group_layout(gpu: &Gpu, label: &str, read_only: &[bool]) -> BindGroupLayout {
    let entries: Vec<_> = (0..).zip(read_only).map(|(i, &read_only)| entry(i, read_only)).collect();
    gpu.device
        .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries })
}

fn layout(gpu: &Gpu, groups: &[Option<&BindGroupLayout>]) -> PipelineLayout {
    gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("kernels"),
        bind_group_layouts: groups,
        immediate_size: IMMEDIATE_BYTES,
    })
}

fn bind(gpu: &Gpu, layout: &BindGroupLayout, buffers: &[&Buffer]) -> BindGroup {
    let entries: Vec<_> = (0..)
        .zip(buffers)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    gpu.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
}

fn entry(binding: u32, read_only: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}
