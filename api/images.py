"""Images as the input of a plan, prepared as `about { input = {...} }` says. numpy and pillow load on use.

    about {
        input = {size = 224, mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225], crop = 0.875,
                 interpolation = "bicubic"}
    }

The image is resized, keeping its proportions, until it just covers `size / crop`; the `size` in its middle is
cut out, scaled from 0..255 to 0..1, and each channel has its mean subtracted and is divided by its std. This
is what timm and torchvision do with these fields. `size` is a number or `[height, width]`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any, cast

from ..compiler import files
from ..compiler.errors import PlanformError

_MOST_BYTES, _MOST_PIXELS = 1 << 28, 1 << 27
# What pillow's readers trip over.
_OF_BROKEN_BYTES = (
    SyntaxError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
)

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")


class ImageError(PlanformError, ValueError):
    """What a file says of its input is wrong, or an image is; the message says how."""


@dataclass(frozen=True)
class ImageInput:
    """How an image becomes an input. `mean` and `std` have an entry for each channel, or one for all."""

    size: tuple[int, int]
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    crop: float = 1.0
    interpolation: str = "bilinear"

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> ImageInput | None:
        """What a file's `about` says of its input, None if nothing; raises `ImageError`."""
        said = about.get("input")
        if said is None:
            return None
        if not isinstance(said, Mapping):
            raise ImageError("`input` is a record: {size = 224, mean = [...], std = [...]}")
        fields = cast("Mapping[str, Any]", said)
        unknown = set(fields) - {"size", "mean", "std", "crop", "interpolation"}
        if unknown:
            raise ImageError(f"`input` has no field `{min(unknown)}`")
        size = fields.get("size")
        pair = [size, size] if isinstance(size, int) else size
        if not (
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(n, int) and n > 0 for n in pair)
        ):
            raise ImageError("`input.size` is a number of pixels, or [height, width]")
        crop = fields.get("crop", 1.0)
        if not isinstance(crop, (int, float)) or not 0 < crop <= 1:
            raise ImageError("`input.crop` is a part of the image: above 0, at most 1")
        interpolation = fields.get("interpolation", "bilinear")
        if interpolation not in INTERPOLATIONS:
            raise ImageError(f"`input.interpolation` is one of {', '.join(INTERPOLATIONS)}")
        mean, std = (_floats(fields.get(name, default), name) for name, default in (("mean", 0), ("std", 1)))
        if any(value <= 0 for value in std):
            raise ImageError("`input.std` is above 0")
        return cls((pair[0], pair[1]), mean, std, float(crop), interpolation)

    def read(self, path: Path, size: tuple[int, int], channels: int) -> Any:
        """An image file as an array f32[1, channels, *size]; raises OSError and `ImageError`.

        One channel is the luminance; three are red, green and blue.
        """
        import numpy
        from PIL import Image, ImageOps, UnidentifiedImageError

        if channels not in (1, 3):
            raise ImageError(f"an image has 1 or 3 channels, and the plan takes {channels}")
        try:
            with files.opened(path, _MOST_BYTES) as stream, Image.open(stream) as found:
                if found.width * found.height > _MOST_PIXELS:
                    raise ImageError(f"{path} has more than {_MOST_PIXELS} pixels")
                image = ImageOps.exif_transpose(found).convert("L" if channels == 1 else "RGB")
        except UnidentifiedImageError:
            raise ImageError(f"{path} is no image that can be read") from None
        except Image.DecompressionBombError as error:
            raise ImageError(f"{path}: {error}") from None
        except OSError as error:
            if error.filename is not None:  # of opening it
                raise
            raise ImageError(f"{path} is damaged: {error.strerror or error}") from None
        except _OF_BROKEN_BYTES as error:
            raise ImageError(f"{path} is damaged: {error}") from None
        width, height = covering(image.size, floor(size[1] / self.crop), floor(size[0] / self.crop))
        if width * height > _MOST_PIXELS:
            raise ImageError(
                f"{path} is {image.width} x {image.height}: too narrow to be cut to a part of it"
            )
        image = image.resize((width, height), Image.Resampling[self.interpolation.upper()])
        top, left = round((height - size[0]) / 2.0), round((width - size[1]) / 2.0)
        image = image.crop((left, top, left + size[1], top + size[0]))
        pixels = numpy.asarray(image, dtype=numpy.float32).reshape(*size, channels) / 255
        mean, std = (_spread(values, channels) for values in (self.mean, self.std))
        normal = (pixels - numpy.asarray(mean, numpy.float32)) / numpy.asarray(std, numpy.float32)
        return numpy.ascontiguousarray(normal.transpose(2, 0, 1)[None])


def covering(image: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """The (width, height) of an image of the same proportions that just covers `width` x `height`."""
    if image[0] * height <= image[1] * width:
        return width, max(int(width * image[1] / image[0]), height)
    return max(int(height * image[0] / image[1]), width), height


def _floats(value: Any, name: str) -> tuple[float, ...]:
    values = cast("Sequence[Any]", value if isinstance(value, (list, tuple)) else [value])
    if not values or not all(isinstance(each, (int, float)) for each in values):
        raise ImageError(f"`input.{name}` is a number, or one for each channel")
    return tuple(float(each) for each in values)


def _spread(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) == 1:
        return values * channels
    if len(values) != channels:
        raise ImageError(f"the image has {channels} channels, and mean or std has {len(values)} entries")
    return values
