// The key of a logit, or that of negative infinity if its id is one of those that are never chosen.
fn permitted(key: u32, id: u32) -> u32 {
  let never = vec4<u32>(p.never_0, p.never_1, p.never_2, p.never_3);
  return select(key, min(key, 0x007fffffu), any(vec4<u32>(id) == never));
}
