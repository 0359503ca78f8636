"""Studies, records, statistics and figures: what is asked of the policy, and what came out."""
