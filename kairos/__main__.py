"""`python -m kairos`."""

from kairos.main import main

if __name__ == "__main__":
    main()
