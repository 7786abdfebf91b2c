"""From histories to lists: candidates, filters, blending, rules, reasons; experiments; versions."""
