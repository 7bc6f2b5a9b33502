//! The tables of README.md say what the program runs, no more and no less.

use metal_attention::{DeviceChoice, LoadOptions, Model, ModelSource, TensorType, families};
use std::collections::{BTreeMap, BTreeSet};
use testkit::TinyModel;

const README: &str = include_str!("../../../README.md");

/// The rows of the table whose header begins with `column`: first cell, the others.
fn table(column: &str) -> BTreeMap<String, Vec<String>> {
    let header = format!("| {column} |");
    let rows = README.lines().skip_while(|line| !line.starts_with(&header)).skip(2);
    let cells = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
        (cells.next().unwrap_or_default(), cells.collect())
    });
    cells.collect()
}

#[test]
fn architectures_are_those_of_the_family_table() {
    let expected: BTreeMap<String, Vec<String>> =
        families().iter().map(|family| (family.name.to_owned(), vec![family.models.to_owned()])).collect();
    assert_eq!(table("architecture"), expected);
}

#[test]
fn tensor_types_are_those_with_decoders_and_say_which_are_decoded_at_load() {
    let listed = table("tensor type");
    let supported = TensorType::ALL.iter().filter(|ty| ty.is_supported());
    let expected: BTreeSet<String> = supported.clone().map(|ty| ty.name().to_owned()).collect();
    assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for ty in supported {
        let model = load(*ty, DeviceChoice::Cpu);
        let decoded = model.notes().iter().any(|note| note.contains("decoded to F32 at load"));
        assert_eq!(listed[ty.name()][0].contains("decoded to F32 at load"), decoded, "{ty}");
        assert_eq!(listed[ty.name()][1], "kernels of its own");
    }
}

#[cfg(feature = "gpu")]
#[test]
fn every_tensor_type_has_kernels_of_its_own_on_a_gpu() {
    for ty in TensorType::ALL.iter().filter(|ty| ty.is_supported()) {
        let model = load(*ty, DeviceChoice::Gpu);
        let kernel = format!("matvec_{}_add", ty.name().to_lowercase());
        let listing = &model.gpu_plan().unwrap().listing;
        assert!(listing.contains(&kernel), "{kernel} is missing in\n{listing}");
    }
}

fn load(matrices: TensorType, device: DeviceChoice) -> Model {
    let source = ModelSource::Memory { name: "tiny".into(), bytes: TinyModel::wide(matrices).bytes() };
    let options = LoadOptions { device, allow_software_gpu: true, ..LoadOptions::default() };
    Model::load(source, &options, &mut |_| ()).expect("every device runs it")
}

#[test]
fn pre_tokenizers_are_all_named() {
    let sentence =
        README.split("with the pre-tokenizers").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
    let listed: BTreeSet<&str> =
        sentence.split([',', ' ', '\n']).map(|name| name.trim_matches('`')).collect();
    let listed: BTreeSet<&str> =
        listed.into_iter().filter(|name| !name.is_empty() && *name != "and").collect();
    assert_eq!(listed, tokenizer::pre_tokenizer_names().collect());
}
