//! `silu_mul` against f64.

use super::{GUARD, Lab, Memory, POISON, floats, words};
use crate::kernels::silu_mul::{Params, SiluMul};
use crate::pipeline::Checks;
use testkit::Random;

#[test]
fn gates_open_as_in_f64() {
    let mut labs = [Lab::new(Checks::On), Lab::new(Checks::Off)];
    let mut random = Random::new(41);
    for (n_cols, n_rows) in [(1usize, 1usize), (32, 1), (33, 3), (96, 2), (1536, 1), (1001, 5)] {
        let stride = n_cols.next_multiple_of(32) + 32;
        let kernel = SiluMul { n_cols };
        let gate: Vec<f32> =
            (0..n_rows * stride).map(|i| random.signed_unit() * [3.0, 60.0, 300.0][i % 3]).collect();
        let up: Vec<f32> = (0..n_rows * stride).map(|_| random.signed_unit()).collect();
        let mut scratch = vec![POISON; GUARD];
        scratch.extend(words(&gate));
        scratch.extend([POISON; GUARD]);
        scratch.extend(words(&up));
        let at = |start: usize| start as u32;
        let params = Params { gate: at(GUARD), up: at(2 * GUARD + gate.len()), stride: stride as u32 };
        let memory = Memory { scratch, ..Memory::default() };
        let runs = labs.each_mut().map(|lab| {
            lab.run(kernel.kernel(), bytemuck::bytes_of(&params), kernel.grid(n_rows), &memory).scratch
        });
        assert_eq!(runs[0], runs[1], "{n_cols} x {n_rows}: checks change nothing");
        let (before, after) = (&memory.scratch, &runs[0]);
        for (i, (&old, &new)) in before.iter().zip(after).enumerate() {
            let place = i.checked_sub(GUARD).filter(|place| *place < gate.len());
            let inside = place.filter(|place| place % stride < n_cols.next_multiple_of(32));
            let Some(place) = inside else {
                assert_eq!(old, new, "{n_cols} x {n_rows}: word {i} is not the kernel's");
                continue;
            };
            let (g, u) = (f64::from(gate[place]), f64::from(up[place]));
            let exact = if place % stride < n_cols { g / (1.0 + (-g).exp()) * u } else { 0.0 };
            let value = f64::from(floats(&[new])[0]);
            let bound = (1e-6 + 2e-7 * g.abs()) * exact.abs() + 1e-30;
            assert!((value - exact).abs() <= bound, "{n_cols} x {n_rows}, {place}: {value} {exact}");
        }
    }
}
