//! The persistent kernel's texts for real models, which only a real GPU runs: at least they are valid shaders, without what NVIDIA's
//! compiler is known to make wrong or slow.

use super::plan::planned;
use super::variants::MATRICES;
use crate::Activations;
use crate::persistent::{Geometry, InHalves, Shape, geometries, text};
use crate::planner::Planner;
use model::SyntheticPreset;
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// The bodies of loops that run a number of times of each thread's own. If one has an operation that threads do together, a compiler may
/// have all of a layer find out which those are (see `Source::meet`).
fn bodies_of_own_length(text: &str) -> impl Iterator<Item = &str> {
    let loops = text.match_indices("for (var ").map(|(at, _)| &text[at..]);
    loops.filter(|rest| rest.split(';').next().unwrap().ends_with("= t")).map(|rest| {
        let mut depth = 0;
        let end = rest.char_indices().skip_while(|(_, c)| *c != '{').find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0
        });
        &rest[..end.expect("braces come in pairs").0]
    })
}

fn assert_valid(text: &str) {
    // On a device that CI has not, the first two gave what no thread had (see `choose.wgsl`), and votes cost every
    // operation of subgroups (see `Source::wait`).
    for wrong in ["subgroupMax(", "subgroupMin(", "subgroupAny(", "subgroupAll("] {
        assert!(!text.contains(wrong), "{wrong}");
    }
    for body in bodies_of_own_length(text) {
        for operation in ["subgroup", "octet_sum(", "publish_block(", "Barrier("] {
            assert!(!body.contains(operation), "threads leave at different times: {body}");
        }
    }
    let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all());
    let valid = validator.validate(&module);
    valid.unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
}

/// Those that are chosen at load.
#[test]
fn the_texts_that_are_chosen_are_valid() {
    for preset in SyntheticPreset::ALL {
        planned(preset, |_, planner| {
            for activations in [Activations::F32, Activations::Int8] {
                let shape = Shape::of(&Planner { activations, ..*planner }).unwrap();
                let all = match geometries(&shape, 8192, (128, 32), MATRICES) {
                    Ok(all) => all,
                    // In floats the vectors of a large model may have no room.
                    Err(_) if activations == Activations::F32 => continue,
                    Err(why) => panic!("{why}"),
                };
                for (_, geometry) in &all {
                    assert_eq!(geometry.in_halves.gated, shape.rounds && !geometry.holds_layer);
                    assert_valid(&text(&shape, geometry));
                }
            }
        });
    }
}

/// In other shares, and not in one that a thread has no registers for.
#[test]
fn the_texts_for_real_models_are_valid() {
    for preset in SyntheticPreset::ALL {
        planned(preset, |spec, planner| {
            let planner = Planner { activations: Activations::Int8, ..*planner };
            let shape = Shape::of(&planner).unwrap();
            for (groups, threads, splits, draws) in [
                (120, 256, 1, true),
                (120, 384, 8, true),
                // A few groups have no room for the logits of many rows.
                (32, 256, 3, false),
                (128, 512, 4, true),
            ] {
                let geometry = Geometry {
                    groups,
                    helpers: 4,
                    threads,
                    lanes: 32,
                    splits,
                    copies: 4,
                    keys: 4,
                    one_chunk: false,
                    batch: 32,
                    holds_layer: true,
                    in_halves: InHalves::NONE,
                    draws,
                    in_turns: false,
                };
                let geometry = match geometry.can_hold(&shape) {
                    true => geometry,
                    false => Geometry {
                        helpers: 0,
                        batch: 4,
                        holds_layer: false,
                        in_halves: if shape.can_halve() { InHalves::ALL } else { InHalves::NONE },
                        ..geometry
                    },
                };
                if splits > groups / spec.n_heads {
                    continue;
                }
                shape.fits(&geometry, 48 << 10).unwrap();
                assert_valid(&text(&shape, &geometry));
            }
            let few = Geometry {
                groups: 1,
                helpers: 0,
                threads: 256,
                lanes: 32,
                splits: 1,
                copies: 1,
                keys: 4,
                one_chunk: false,
                batch: 32,
                holds_layer: true,
                in_halves: InHalves::NONE,
                draws: false,
                in_turns: false,
            };
            assert!(shape.fits(&few, 48 << 10).unwrap_err().contains("units"));
        });
    }
}
