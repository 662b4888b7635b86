"""``python -m monai_medaug`` is ``monai-medaug``."""

from monai_medaug.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
