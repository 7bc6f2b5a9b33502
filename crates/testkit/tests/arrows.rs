//! The dependency arrows of the workspace point as ARCHITECTURE.md draws them.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};

/// What each crate may know, tests apart.
const ARROWS: [(&str, &[&str]); 9] = [
    ("metal-attention-gguf", &[]),
    ("metal-attention-tokenizer", &[]),
    ("metal-attention-model", &["metal-attention-gguf"]),
    ("metal-attention-cpu", &["metal-attention-gguf", "metal-attention-model"]),
    ("metal-attention-gpu", &["metal-attention-gguf", "metal-attention-model"]),
    (
        "metal-attention",
        &[
            "metal-attention-gguf",
            "metal-attention-tokenizer",
            "metal-attention-model",
            "metal-attention-cpu",
            "metal-attention-gpu",
        ],
    ),
    ("metal-attention-cli", &["metal-attention"]),
    ("metal-attention-testkit", &["metal-attention-gguf", "metal-attention-model"]),
    ("xtask", &["metal-attention-gguf", "metal-attention-model", "metal-attention-cpu", "metal-attention"]),
];

#[test]
fn arrows_point_as_drawn() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(ours, allowed.keys().copied().collect(), "a crate is missing from the drawing, or gone");
    for package in &metadata.packages {
        for dependency in package.dependencies.iter().filter(|d| ours.contains(d.name.as_str())) {
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            assert!(
                allowed[package.name.as_str()].contains(&dependency.name.as_str()),
                "{} must not depend on {}",
                package.name,
                dependency.name
            );
        }
    }
}

#[test]
fn only_tests_know_the_testkit() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    for package in &metadata.packages {
        for dependency in package.dependencies.iter().filter(|d| d.name == "metal-attention-testkit") {
            assert_eq!(dependency.kind, DependencyKind::Development, "{}", package.name);
        }
    }
}
