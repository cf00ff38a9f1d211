"""From a linear step to an accepted one: damping, trust regions, line search, and their judgement."""
