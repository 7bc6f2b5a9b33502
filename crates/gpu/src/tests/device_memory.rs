//! What the driver of the tests' device says of its memory.

use crate::device::{AdapterChoice, Gpu, adapters};

#[test]
fn the_driver_says_how_much_memory_there_is() {
    let choice = AdapterChoice { allow_software: true, ..AdapterChoice::default() };
    let bytes = Gpu::open(choice, None).unwrap().memory_bytes.expect("Vulkan and Metal say so");
    // Enough for the smallest models, and less than any machine has.
    assert!((1 << 28..1 << 46).contains(&bytes), "{bytes}");
    assert!(adapters().iter().all(|adapter| adapter.memory_bytes.is_some_and(|bytes| bytes > 0)));
}
