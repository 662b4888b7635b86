"""The commands of ``monai-medaug``, one file each."""
