fn unit_halves(w: Raw) -> array<vec4<f16>, 8> {
  let v = unit_weights(w);
  return array<vec4<f16>, 8>(
    vec4<f16>(v[0]), vec4<f16>(v[1]), vec4<f16>(v[2]), vec4<f16>(v[3]),
    vec4<f16>(v[4]), vec4<f16>(v[5]), vec4<f16>(v[6]), vec4<f16>(v[7]));
}
