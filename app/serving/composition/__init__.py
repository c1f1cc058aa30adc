"""From ranked candidates to the places of a slate: one file a rule, each a function over the draft, put in order by the pipeline.

    scores   freshness → dislikes → boosts      what a candidate is worth
    places   selection (diversity, calibration, caps) → rotation → fallback → promotions → exploration → pins

Later means stronger: a pin stands where it was pinned, whatever the rules before it said. DECISIONS 38 gives the reasons.
"""
