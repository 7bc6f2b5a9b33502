//! Instruction sets: what kernels need of one ([`Simd`]), each that there is, and the table of kernels of the one that is
//! chosen at load.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod portable;
mod simd;
mod table;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(crate) use simd::{Kernel, LANES, LINE, Simd};
pub(crate) use table::Kernels;

/// Whether weights are best prefetched into the first-level cache. With 48 KiB of it, on Zen 5, decoding Q4_0 is 20 % faster by one
/// thread and 7 % by two than with prefetches into the second; with 32 KiB, on Zen 4, it is slower. Others have not been measured.
pub(crate) fn prefetches_near() -> bool {
    #[cfg(target_arch = "x86_64")]
    return x86_64::amd_first_level_bytes().is_some_and(|bytes| bytes >= 48 << 10);
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[allow(unsafe_code, reason = "tables of kernels are handed out where their instruction sets were detected")]
impl Kernels {
    /// The best set for this processor.
    pub(crate) fn detect() -> &'static Self {
        Self::available().last().expect("the portable set is always there")
    }

    /// Every set that this processor can run, the best last.
    pub(crate) fn available() -> Vec<&'static Self> {
        // SAFETY: it asks for nothing.
        static PORTABLE: Kernels = unsafe { Kernels::of::<portable::Portable>() };
        let mut sets = vec![&PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            use x86_64::{avx2::Avx2, avx512::Avx512};
            // SAFETY: handed out below, where it was detected.
            static AVX2: Kernels = unsafe { Kernels::of::<Avx2<false>>() };
            // SAFETY: as above.
            static AVX2_VNNI: Kernels = unsafe { Kernels::of::<Avx2<true>>() };
            // SAFETY: as above.
            static AVX512: Kernels = unsafe { Kernels::of::<Avx512>() };
            let detected = [
                (x86_64::has_avx2(), &AVX2),
                (x86_64::has_avx_vnni(), &AVX2_VNNI),
                (x86_64::has_avx512(), &AVX512),
            ];
            sets.extend(detected.into_iter().filter(|(has, _)| *has).map(|(_, set)| set));
        }
        #[cfg(target_arch = "aarch64")]
        {
            use aarch64::neon::{self, Neon};
            // SAFETY: every processor of this architecture has NEON.
            static NEON: Kernels = unsafe { Kernels::of::<Neon<{ neon::PLAIN }>>() };
            // SAFETY: handed out below, where it was detected.
            static DOTPROD: Kernels = unsafe { Kernels::of::<Neon<{ neon::DOTPROD }>>() };
            // SAFETY: as above.
            static I8MM: Kernels = unsafe { Kernels::of::<Neon<{ neon::I8MM }>>() };
            let detected = [(true, &NEON), (aarch64::has_dotprod(), &DOTPROD), (aarch64::has_i8mm(), &I8MM)];
            sets.extend(detected.into_iter().filter(|(has, _)| *has).map(|(_, set)| set));
        }
        sets
    }
}
