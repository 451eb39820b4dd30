"""`python -m facededup` is the command line."""

from facededup.cli import main

if __name__ == "__main__":
    main()
