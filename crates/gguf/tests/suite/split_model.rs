//! Models that are split into several files.

use std::path::{Path, PathBuf};

use gguf::{Gguf, GgufErrorKind, GgufWriter, TensorType};
use tempfile::TempDir;

use crate::refusal::{Refusal, refused};
use crate::sample;

const COUNT: u16 = 3;

/// The bytes of shard `index`, which holds the tensor `t.INDEX` of bytes `INDEX`.
fn shard(index: u16, count: u16, n_tensors: i32) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    writer.set("general.name", format!("shard {index}")).unwrap();
    writer.set("split.no", index).unwrap().set("split.count", count).unwrap();
    writer.set("split.tensors.count", n_tensors).unwrap();
    let data = vec![u8::try_from(index).unwrap(); 40];
    writer.add_tensor(format!("t.{index}"), TensorType::I8, &[4, 10], data).unwrap();
    writer.to_vec()
}

fn path(dir: &Path, index: u16) -> PathBuf {
    dir.join(format!("model-{:05}-of-{COUNT:05}.gguf", index + 1))
}

fn model() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for index in 0..COUNT {
        std::fs::write(path(dir.path(), index), shard(index, COUNT, COUNT.into())).unwrap();
    }
    dir
}

fn refused_first(dir: &Path) -> Refusal {
    Refusal::from(Gguf::open(path(dir, 0)).unwrap_err())
}

#[test]
fn the_first_shard_opens_them_all() {
    let dir = model();
    let file = Gguf::open(path(dir.path(), 0)).unwrap();
    assert_eq!(file.metadata().str("general.name"), Ok("shard 0"));
    assert_eq!(file.tensors().map(|info| info.shard()).collect::<Vec<_>>(), [0, 1, 2]);
    for index in 0..COUNT {
        let tensor = file.tensor(&format!("t.{index}")).unwrap();
        assert_eq!(tensor.data, [u8::try_from(index).unwrap(); 40]);
        assert_eq!(tensor.info.shape(), [4, 10]);
    }
    let sizes = (0..COUNT).map(|index| std::fs::metadata(path(dir.path(), index)).unwrap().len());
    assert_eq!(file.len_bytes(), sizes.sum::<u64>());
    file.advise_dropped();
    sample::walk(&file);
}

#[test]
fn a_later_shard_names_the_first() {
    let dir = model();
    let error = Gguf::open(path(dir.path(), 2)).unwrap_err();
    assert!(matches!(error.kind(), GgufErrorKind::LaterShard { number: 3, count: 3, .. }));
    let first = path(dir.path(), 0);
    assert!(error.to_string().contains(&format!("open the first one, {}", first.display())), "{error}");
}

#[test]
fn a_missing_shard_is_named() {
    let dir = model();
    let gone = path(dir.path(), 1);
    std::fs::remove_file(&gone).unwrap();
    let error = refused_first(dir.path());
    assert!(
        error.display.contains(&format!(
            "cannot open shard 2 of 3, which must be beside the first: {}",
            gone.display()
        )),
        "{}",
        error.display
    );
}

#[test]
fn a_renamed_model_is_refused() {
    let dir = model();
    for index in [0, 1] {
        let renamed = dir.path().join("renamed.gguf");
        std::fs::copy(path(dir.path(), index), &renamed).unwrap();
        let error = Gguf::open(&renamed).unwrap_err();
        assert!(matches!(error.kind(), GgufErrorKind::BadShardName { count: 3 }), "{error}");
    }
}

#[test]
fn a_shard_of_another_split_is_refused() {
    let dir = model();
    for (other, found) in
        [(shard(2, COUNT, 3), "3 of 3"), (shard(1, 4, 3), "2 of 4"), (sample::file(), "1 of 1")]
    {
        std::fs::write(path(dir.path(), 1), other).unwrap();
        let error = refused_first(dir.path());
        assert_eq!(error.debug, format!("ShardMismatch {{ expected: \"2 of 3\", found: \"{found}\" }}"));
        assert!(error.display.contains("model-00002-of-00003.gguf"), "{}", error.display);
    }
}

#[test]
fn a_damaged_later_shard_is_named() {
    let dir = model();
    let second = path(dir.path(), 1);
    let mut bytes = std::fs::read(&second).unwrap();
    bytes.truncate(bytes.len() - 32);
    std::fs::write(&second, bytes).unwrap();
    let error = refused_first(dir.path());
    assert!(error.debug.starts_with("OutOfFile"), "{}", error.debug);
    assert!(error.display.starts_with(&second.display().to_string()), "{}", error.display);
}

#[test]
fn the_number_of_tensors_must_agree() {
    let dir = model();
    std::fs::write(path(dir.path(), 0), shard(0, COUNT, 4)).unwrap();
    assert_eq!(refused_first(dir.path()).debug, "SplitTensorCount { expected: 4, found: 3 }");
    std::fs::write(path(dir.path(), 0), shard(0, COUNT, -1)).unwrap();
    assert!(refused_first(dir.path()).debug.starts_with("Metadata(OutOfRange"));
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let dir = model();
    let mut writer = GgufWriter::new();
    writer.set("split.no", 1u16).unwrap().set("split.count", COUNT).unwrap();
    writer.add_tensor("t.0", TensorType::I8, &[1], vec![0]).unwrap();
    std::fs::write(path(dir.path(), 1), writer.to_vec()).unwrap();
    assert_eq!(refused_first(dir.path()).debug, r#"DuplicateTensor { tensor: "t.0" }"#);
}

#[test]
fn a_split_of_one_is_a_file_and_a_shard_in_memory_is_refused() {
    let file = Gguf::from_vec(shard(0, 1, 1)).unwrap();
    assert_eq!(file.tensors().len(), 1);
    assert_eq!(refused(shard(0, COUNT, 3)).debug, "SplitInMemory { count: 3 }");
}
