"""Who writes: descriptors found in a corpus, merged, tagged, and joined into descriptions."""
