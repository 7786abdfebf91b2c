"""From histories to lists: candidates, filters, blending, rules, diversity, explanations; experiments; versions."""
