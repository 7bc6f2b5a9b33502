// Softmax without infinities: below every score, and e^x that is 0 far below, where an exponent might overflow on its way.
const LOWEST: f32 = -3.0e38;
fn weight(x: f32) -> f32 { return exp(max(x, -200.0)); }
fn weights(x: vec4<f32>) -> vec4<f32> { return exp(max(x, vec4<f32>(-200.0))); }
