"""Made-up material for needles and haystacks: entities and relations, articles about them, keys and values, padding."""
