"""One clip on several cards: the first rank is the worker itself, a helper process on each other card holds the
experts and runs its part of each forward.
"""
