"""Steering cells as several analyses read them: answers, judged scores, what may be compared."""
