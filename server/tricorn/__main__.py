"""`python -m tricorn` is the same as `server`."""

from tricorn.cli import main

main()
