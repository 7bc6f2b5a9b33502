//! What the tests share.

use assert_cmd::Command;
use gguf::{Gguf, GgufWriter, Value};
use std::path::PathBuf;
use tempfile::TempDir;
use testkit::TinyModel;

/// A template in the manner of ChatML.
pub(crate) const CHAT_TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
     {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_metal-attention");

/// The program, deaf to the environment of whoever runs the tests, and on the CPU where a test says nothing else.
pub(crate) fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    for variable in ["MODEL", "THREADS", "CTX_SIZE", "ALLOW_SOFTWARE"] {
        command.env_remove(format!("METAL_ATTENTION_{variable}"));
    }
    command.env_remove("CLICOLOR_FORCE").env_remove("GPU_DEBUG");
    command.env("METAL_ATTENTION_DEVICE", "cpu").env("METAL_ATTENTION_CACHE", "");
    command
}

/// The program, which takes a software adapter for a GPU where there is no other.
#[cfg(feature = "gpu")]
pub(crate) fn program_with_gpu() -> Command {
    let mut command = program();
    command.env("METAL_ATTENTION_ALLOW_SOFTWARE", "1").env_remove("METAL_ATTENTION_DEVICE");
    command
}

/// A folder for model files, gone with the value.
pub(crate) struct Models {
    folder: TempDir,
}

impl Models {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn tiny(&self) -> PathBuf {
        self.file("tiny.gguf", TinyModel::default().bytes())
    }

    pub(crate) fn tiny_chat(&self) -> PathBuf {
        let tiny =
            TinyModel { chat_template: Some(CHAT_TEMPLATE), context_len: 4096, ..TinyModel::default() };
        self.file("tiny-chat.gguf", tiny.bytes())
    }
}

/// A copy of the tiny model in which one key has another value, or none.
pub(crate) fn tiny_with(key: &str, value: Option<Value>) -> Vec<u8> {
    rewritten(key, value, true)
}

/// The tiny model's vocabulary alone.
pub(crate) fn vocabulary_only() -> Vec<u8> {
    rewritten("general.name", Some("words".into()), false)
}

fn rewritten(key: &str, value: Option<Value>, with_tensors: bool) -> Vec<u8> {
    let gguf = Gguf::from_vec(TinyModel::default().bytes()).unwrap();
    let mut writer = GgufWriter::new();
    for (name, value) in gguf.metadata().iter().filter(|(name, _)| *name != key) {
        writer.set(name, value.clone()).unwrap();
    }
    if let Some(value) = value {
        writer.set(key, value).unwrap();
    }
    for info in gguf.tensors().filter(|_| with_tensors) {
        writer.add_tensor(info.name(), info.ty(), info.shape(), gguf.tensor_data(info)).unwrap();
    }
    writer.to_vec()
}

/// Runs to the end and gives exit code, stdout and stderr.
pub(crate) fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().expect("the program ends by itself");
    (code, text(output.stdout), text(output.stderr))
}

/// Runs to the end without an error and gives stdout.
pub(crate) fn stdout(command: &mut Command) -> String {
    let (code, stdout, stderr) = outcome(command);
    assert_eq!(code, 0, "{stderr}");
    stdout
}
