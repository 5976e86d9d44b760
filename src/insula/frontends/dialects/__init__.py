"""Other vendors' APIs, so that their clients work here: each folder translates to actions and back.

Their words, ids, pagination and errors stay in there.
"""
