"""How well heat maps and in/out answers tell where people look: scores, baselines that look at nothing, people."""
