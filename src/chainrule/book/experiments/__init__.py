"""The chapter's equations and claims as experiments: functions that return what they found.

Each module is one topic. An experiment takes sizes and seeds, returns a frozen record of plain arrays and
numbers, and draws nothing; ``chainrule.book.sections`` puts them into words and figures.
"""
