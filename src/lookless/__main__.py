"""`python -m lookless`, for launchers such as torchrun."""

from lookless.cli import main

if __name__ == "__main__":
    main()
