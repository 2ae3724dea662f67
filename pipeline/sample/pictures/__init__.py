"""A subject, a seed and a size in; a picture drawn by code out, the same bytes every time."""

import hashlib
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from pipeline.sample.pictures import (
    astronomy,
    bicycles,
    buildings,
    charts,
    coast,
    countryside,
    diagrams,
    garden,
    islands,
    maps,
    mountains,
    nature,
    patterns,
    plans,
    skies,
    stones,
    table,
    textiles,
    weather,
)
from pipeline.sample.pictures.brush import Random, Size

# What a picture shows, as one sentence for an alternative text or a caption.
SUBJECTS = {
    # landscapes and skies
    "standing-stones": "Rows of standing stones under a full moon",
    "dolmen": "A dolmen of two uprights and a capstone on a heath at dusk",
    "lighthouse": "A lighthouse on a rocky headland sends its beam over the sea",
    "sunset-sea": "The sun sets over a calm sea and leaves a path of light on the water",
    "misty-ridges": "Mountain ridges fade one behind another into the morning haze",
    "mountain-lake": "A snowy peak and its reflection in a still lake",
    "snowy-forest": "Fir trees stand in fresh snow while flakes are falling",
    "desert-dunes": "Sand dunes with sharp crests in low sunlight",
    "rolling-fields": "Rolling fields in strips of green and gold with a few trees",
    "river-valley": "A river winds through a green valley towards distant hills",
    "rain-shower": "A rain shower falls from a dark cloud over the plain, with a rainbow beside it",
    "starry-sky": "The Milky Way above dark hills on a clear night",
    "aurora": "Green curtains of northern lights above a row of hills",
    "full-moon": "The full moon with its dark seas and bright craters",
    "ringed-planet": "A banded planet with rings in front of the stars",
    "spiral-galaxy": "A spiral galaxy with two bright arms and a glowing core",
    # charts
    "bar-chart": "A bar chart of rainfall in each month of the year",
    "line-chart": "A line chart of the temperature at three weather stations during one day",
    "pie-chart": "A pie chart of what goes into a loaf of bread",
    "scatter-plot": "A scatter plot of stars by colour and brightness",
    "area-chart": "A stacked area chart of vegetables harvested from week to week",
    "tide-chart": "A curve of the tide at the harbour over two days",
    "heat-map": "A table of coloured squares with the temperature of every hour and month",
    "wind-rose": "A wind rose that shows how often the wind blows from each direction",
    # maps
    "contour-map": "A walking map with contour lines, a stream and a footpath",
    "island-map": "A relief map of an island with shaded hills and shallow water",
    "river-map": "A map of a river and its tributaries on the way to the sea",
    "sea-chart": "A sea chart with depths, a compass rose and a dotted course",
    "weather-map": "A weather map with isobars, a high, a low and a cold front",
    "street-plan": "A street plan of a small town with a park and a river",
    "metro-map": "A map of metro lines in bright colours with named stations",
    "star-chart": "A star chart with constellation lines for one night of the year",
    # diagrams
    "water-cycle": "A diagram of the water cycle with evaporation, clouds, rain and rivers",
    "solar-system": "A diagram of the planets on their orbits around the sun",
    "moon-phases": "The phases of the moon from new to full and back again",
    "telescope": "The path of light through a reflecting telescope with two mirrors",
    "sundial": "A sundial seen from above with its hour lines and shadow",
    "bicycle": "A drawing of a bicycle with its parts named",
    "bicycle-gears": "A chain runs over the chainring and the sprocket of a bicycle",
    "spoked-wheel": "A bicycle wheel with crossed spokes between hub and rim",
    "arch-bridge": "A stone arch bridge with arrows for the forces in the arch",
    "plant-cell": "A plant cell with its wall, nucleus, vacuole and chloroplasts",
    "circuit": "A circuit with a battery, a switch, a resistor and a lamp",
    "bread-steps": "The steps of making bread, from mixing to cooling, as a row of boxes",
    "tree-rings": "The rings of a felled tree, with narrow bands for dry years",
    "rock-layers": "A section through layers of rock with a fault and fossils",
    # patterns
    "quilt": "A patchwork quilt of pinwheel and star blocks",
    "tartan": "A woven tartan with crossing bands of colour",
    "star-tiling": "A tiling of eight-pointed stars and crosses in glazed colours",
    "truchet-tiles": "Truchet tiles whose quarter circles join into winding paths",
    "mosaic": "A mosaic of small stones in many colours with pale joints",
    "mandala": "A mandala of petals in rings around its centre",
    "wave-pattern": "A pattern of overlapping waves like fish scales",
    "knitting": "A knitted pattern of coloured stitches in rows",
    # still lifes and plants
    "fruit-bowl": "A bowl of apples, oranges and pears on a table",
    "teapot": "A teapot and a cup of tea on a striped cloth",
    "bread-loaf": "A round loaf of bread with a scored crust on a board",
    "seashells": "Scallop and snail shells lying on the sand",
    "sunflower": "A sunflower whose seeds are set in two families of spirals",
    "fern": "A fern frond with leaflets that grow smaller towards the tip",
    "vegetable-bed": "A garden bed with rows of cabbages, carrots and lettuce",
    # buildings
    "windmill": "A windmill with four sails on a hill above a field",
    "skyline": "The skyline of a city at nightfall with lit windows",
    "rose-window": "The rose window of a cathedral in stained glass",
}

# A subject is drawn by the function of its name, with "_" for "-".
PAINTINGS: dict[str, Callable[[Random, Size], Image.Image]] = {
    painting.__name__.replace("_", "-"): painting
    for genre in (
        stones,
        coast,
        mountains,
        countryside,
        skies,
        charts,
        weather,
        maps,
        islands,
        plans,
        astronomy,
        nature,
        bicycles,
        diagrams,
        patterns,
        textiles,
        table,
        garden,
        buildings,
    )
    for painting in genre.PAINTINGS
}


def draw(subject: str, seed: int, size: tuple[int, int]) -> Image.Image:
    """An RGB picture of one of `SUBJECTS`, `size` pixels wide and high; another seed draws another picture of it.

    Raises KeyError for a subject that is not in `SUBJECTS`.
    """
    key = hashlib.sha256(f"{subject}/{seed}".encode()).digest()
    return PAINTINGS[subject](np.random.default_rng(int.from_bytes(key[:16], "big")), size)


def encode(image: Image.Image, format: str, quality: int = 85) -> bytes:
    """The bytes of a "jpeg", "png" or "webp" file; `quality` is 1 to 100 and means nothing to PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format, quality=quality)
    return buffer.getvalue()
