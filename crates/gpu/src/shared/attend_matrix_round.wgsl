  {
    // Behind the last round no key counts.
    let round = // <round>
    ;
    let first_key = (round * TEAMS + team) * KEYS;
    // <stage values>
    // <stage keys>
    // <softmax>
    let rescale = workgroupUniformLoad(&rescaled);
    if (rescale != 0u) {
      // <rescale>
      if (thread == 0u) { rescaled = 0u; }
    }
    // What comes next is on its way during the products: a barrier before them would wait for it.
    // <load later rounds>
    // <mix>
    // <scores>
    workgroupBarrier();
  }
