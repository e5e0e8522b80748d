"""From files to tables: comparisons of finished runs. Imports no training code."""
