"""A process that lives on in every copy of its guest: on each line it reads, it prints its first random bytes.

Nothing is drawn before, so that what a copy draws is what it would draw first.
"""

import os
import secrets
import ssl
import sys

for _ in sys.stdin:
    print(os.getrandom(16).hex(), ssl.RAND_bytes(16).hex(), secrets.token_hex(16), flush=True)
