//! Arbitrary bytes as a model file: refused with a typed error, or all of it can be used.
#![no_main]

use gguf::{FormatError, Gguf};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Gguf::from_vec(bytes.to_vec()) {
        Ok(file) => walk(&file),
        Err(error) => assert!(!error.to_string().is_empty(), "an error says something"),
    }
});

fn walk(file: &Gguf) {
    let metadata = file.metadata();
    for (key, value) in metadata.iter() {
        let found = metadata.get(key).expect("a listed key is found");
        assert_eq!(found.type_name(), value.type_name());
        drop((
            metadata.str(key),
            metadata.bool(key),
            metadata.u32(key),
            metadata.u64(key),
            metadata.f32(key),
        ));
        drop((
            metadata.str_array(key),
            metadata.u32_array(key),
            metadata.i32_array(key),
            metadata.f32_array(key),
        ));
    }
    for info in file.tensors() {
        let tensor = file.tensor(info.name()).expect("a listed tensor is found");
        assert_eq!(tensor.data.len() as u64, info.len_bytes());
        assert_eq!(info.shape().iter().product::<u64>(), info.n_elements());
        // Every weight of a type with a decoder takes bits of the input, so that this stays small.
        let n_weights = if info.ty().is_supported() { info.n_elements() } else { 0 };
        let mut weights = vec![0.0; usize::try_from(n_weights).expect("weights fit memory")];
        match info.ty().decode(tensor.data, &mut weights) {
            Ok(()) => assert!(info.ty().is_supported()),
            Err(error) => assert_eq!(error, FormatError::NoDecoder { ty: info.ty() }),
        }
    }
}
