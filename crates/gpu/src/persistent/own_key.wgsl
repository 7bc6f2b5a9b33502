  // The query turned and scaled, and the row's own key, rounded as in the cache.
  let l = t % LANES;
  let q_scale = SCALE * head_scale(0u);
  q_low = q_scale * (weighted(2u * l) * cos_low + partner(0u, 2u * l) * sin_low);
  q_high = q_scale * (weighted(2u * l + 1u) * cos_high + partner(0u, 2u * l + 1u) * sin_high);
  let at_k = HEAD_DIM / 4u;
  let k_scale = head_scale(at_k);
  let own_key = half_words(
    k_scale * (weighted(at_k + 2u * l) * cos_low + partner(at_k, 2u * l) * sin_low),
    k_scale * (weighted(at_k + 2u * l + 1u) * cos_high + partner(at_k, 2u * l + 1u) * sin_high));
  let own_value = half_words(head_qkv[2u * at_k + 2u * l], head_qkv[2u * at_k + 2u * l + 1u]);
  let own_score = team_sum(dot(low_half(own_key), q_low) + dot(high_half(own_key), q_high));
  // The first team of the last part has it; the first head of a group puts it into the cache.
  let own = t < LANES && split() + 1u == SPLITS;
  if (own && head() % GROUP == 0u && alive()) {
    let at = key_at(layer, position);
    kv[at] = own_key;
    kv[at + VALUES] = own_value;
  }
  top = select(LOWEST, own_score, own);
  total = select(0.0, 1.0, own);
  mixed_low = select(vec4<f32>(0.0), low_half(own_value), own);
  mixed_high = select(vec4<f32>(0.0), high_half(own_value), own);
