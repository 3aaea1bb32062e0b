"""Images to tiles: grids of a table of sizes, tiles and pixel values of images, whole images as frames are fitted."""

import numpy as np
import torch
from parity.case import Case, refuse_others

from omnikit.contracts.specs import ImageSpec
from omnikit.data.media.image import cut_tiles, fit_square, normalise, pad_to_square, tile_count, tile_grid, tile_grids

ONLY: dict[str, tuple[object, ...]] = {"do_resize": (True,), "do_center_crop": (True,), "resample": ("BICUBIC(3)", 3),
                                      "rescale_factor": (1 / 255,)}


def matches(case: Case) -> bool:
    return "tiling" in case.words


def replay(case: Case) -> None:
    for name, order in case.words_out.get("candidate_order", {}).items():
        least, most = map(int, name.split("_"))
        case.equal(f"candidate_order {name}", [list(pair) for pair in tile_grids(least, most)], order)
    refuse_others(case.config.get("image_processor", {}), ONLY)
    for index, row in enumerate(case.words_out.get("table", [])):
        if row.get("error"):
            case.raises(f"table {index}", lambda row=row: tile_grid(row["width"], row["height"], spec_of(case, row)))
            continue
        spec = spec_of(case, row)
        columns, rows = tile_grid(row["width"], row["height"], spec)
        size, count = spec.size, tile_count(row["width"], row["height"], spec)
        boxes = [[x * size, y * size, (x + 1) * size, (y + 1) * size] for y in range(rows) for x in range(columns)]
        found = {"grid_cols": columns, "grid_rows": rows, "n_tiles_total": count, "has_thumbnail": count > columns * rows,
                 "crop_boxes": boxes}
        case.equal(f"table {index}", found, {key: row[key] for key in found})
    for index, row in enumerate(case.words_out.get("frame_cat_table", [])):
        columns, rows = tile_grid(row["width"], row["height"], spec_of(case, row))
        groups = -(-columns // 2) * -(-rows // 2) + 1  # squares of four tiles, and the thumbnail
        case.equal(f"frame_cat_table {index}", (5 * groups, groups), (row["n_images"], row["n_visual_groups_of_5"]))
    for facts in case.facts["inputs"].get("images", []):
        compare_image(case, facts)


def compare_image(case: Case, facts: dict[str, int]) -> None:
    name, spec = f"img{facts['index']}", spec_of(case, facts)
    pixels = np.asarray(case.inputs[f"{name}_uint8_HWC"].numpy(), dtype=np.uint8)
    atol = case.limit("pixel_values_atol", "atol", 1e-5)
    cut = cut_tiles(pixels, spec)
    case.close(f"{name}_tiles_uint8", torch.from_numpy(cut))
    case.close(f"{name}_pixel_values", torch.from_numpy(normalise(cut, spec)), atol=atol)
    case.close(f"{name}_expand2square_uint8", torch.from_numpy(pad_to_square(pixels, spec)))
    for fit, output in (("crop", "frame_no_pad"), ("pad", "frame_pad")):
        frame = normalise(fit_square(pixels, spec_of(case, facts, fit))[None], spec)[0]
        case.close(f"{name}_{output}", torch.from_numpy(frame), atol=atol)


def spec_of(case: Case, row: dict[str, int], fit: str = "crop") -> ImageSpec:
    colours = case.config.get("image_processor", {})
    spec = ImageSpec(row["image_size"], least_tiles=row["min_num"], most_tiles=row["max_num"], fit=fit,
                       thumbnail=bool(row.get("use_thumbnail", True)))
    return ImageSpec(spec.size, tuple(colours.get("image_mean", spec.mean)), tuple(colours.get("image_std", spec.deviation)),
                       fit, spec.least_tiles, spec.most_tiles, spec.thumbnail)
