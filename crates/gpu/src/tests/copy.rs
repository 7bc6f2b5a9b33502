//! `copy` is exact, and writes nothing else.

use super::{GUARD, Lab, Memory, POISON};
use crate::kernels::copy::{Copy, Params};
use crate::pipeline::Checks;
use testkit::Random;

#[test]
fn quads_arrive_as_they_are() {
    let mut labs = [Lab::new(Checks::On), Lab::new(Checks::Off)];
    let mut random = Random::new(5);
    for n_quads in [1, 7, 2048, 2049, 20_000] {
        let weights: Vec<u32> = (0..4 * n_quads + 8).map(|_| random.bits() as u32 & 0x7f7f_ffff).collect();
        let scratch = vec![POISON; 2 * GUARD + 4 * n_quads];
        let memory = Memory { weights, scratch, ..Memory::default() };
        let params = Params { x: 1, y: (GUARD / 4) as u32, n_quads: n_quads as u32 };
        for lab in &mut labs {
            let after =
                lab.run(Copy.kernel(), bytemuck::bytes_of(&params), Copy.grid(n_quads), &memory).scratch;
            let (guard, rest) = after.split_at(GUARD);
            let (copied, behind) = rest.split_at(4 * n_quads);
            assert_eq!(copied, &memory.weights[4..4 + 4 * n_quads], "{n_quads}");
            assert!(guard.iter().chain(behind).all(|&word| word == POISON), "{n_quads}");
        }
    }
}
