from monai_medaug.transforms.spatial import *
