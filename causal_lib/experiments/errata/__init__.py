"""The formulas of the article's sections 4.1 and 4.2, checked: what holds as printed, and what each
line should say.
"""
