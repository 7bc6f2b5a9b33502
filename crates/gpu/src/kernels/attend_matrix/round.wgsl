  {
    // Behind the last round no key counts.
    let round = // <round>
    ;
    let first_key = (round * TEAMS + team) * KEYS;
    // What was loaded has this long to come.
    // <softmax>
    // <stage values>
    // <stage keys>
    // <load before the barrier>
    let rescale = workgroupUniformLoad(&rescaled);
    if (rescale != 0u) {
      // <rescale>
      if (thread == 0u) { rescaled = 0u; }
    }
    // What comes next is on its way during the products.
    // <load behind it>
    // <mix>
    // <leave>
    // <scores>
    workgroupBarrier();
  }
