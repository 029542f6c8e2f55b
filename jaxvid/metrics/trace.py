"""Where a masked entity is in every frame, how it moves, and which kind it is.

A motion is read by fitting the boxes of each model of ``script.Actor`` to the edges of the mask,
robustly, since the other entity may hide some of them. A kind is read by straightening the mask
into the coordinates of its boxes, averaging over time, and comparing with templates that are
blurred, grown and shifted.

Letters beyond the legend: E edges of a box (left, right, top, bottom), G positions across a
straightened box, M templates, P points, Q unknowns of a fit.
"""

import functools
import itertools

import numpy as np

from jaxvid import shapes
from jaxvid.script import DIRECTIONS, KINDS

_STILL = 0.08  # of the frame: less travel is none
_ZOOM = 1.3  # ratio of last and first width
_HIDDEN = 0.25  # of the median area: a frame that shows less tells nothing
_GRID = np.linspace(-1.5, 1.5, 25)  # across the measured box, which ends at -1 and 1
_FINE = np.linspace(-1.5, 1.5, 49)
_GROW = np.array([0.9, 0.95, 1.0, 1.06, 1.12, 1.19, 1.26, 1.34, 1.42])  # true box over measured one
_SHIFT = np.array([-0.15, -0.1, -0.05, 0.0, 0.05, 0.1])  # of its centre, downwards, in half boxes
_BLURS = (0.5, 0.75, 1.0)  # standard deviation in pixels: as rendered, ..., after a 3x3 mean


def _edges(profile_TW: np.ndarray, profile_TH: np.ndarray) -> np.ndarray:
    """Where soft profiles (greatest share in each column and row) begin and end, (E,T) pixels."""
    edges = []
    for profile in (profile_TW, profile_TH):
        reached = np.maximum.accumulate(profile, 1)
        left = np.maximum.accumulate(profile[:, ::-1], 1)
        edges += [(1 - reached).sum(1), profile.shape[1] - (1 - left).sum(1)]
    return np.stack(edges)


def _fit(
    place_TQ: np.ndarray, width_TQ: np.ndarray, edges_2T: np.ndarray, trust_T: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Centre and width (T,) that fit two opposite edges, and the misfit.

    Linear least squares over the two bases, reweighted as for Cauchy errors, from coarse to fine:
    an edge that the other entity hides is far off, and must not count.
    """
    X_PQ = np.block([[place_TQ, -width_TQ / 2], [place_TQ, width_TQ / 2]])
    y_P, trust_P = edges_2T.ravel(), np.tile(trust_T, 2)
    w_P, ridge_QQ = trust_P, 1e-4 * np.eye(X_PQ.shape[1])
    loss_P = np.zeros_like(y_P)
    for scale in (4, 2, 1, 0.5, 0.5, 0.5):  # pixels
        XW_QP = X_PQ.T * w_P
        solution_Q = np.linalg.solve(XW_QP @ X_PQ + ridge_QQ, XW_QP @ y_P)
        loss_P = 1 + ((y_P - X_PQ @ solution_Q) / scale) ** 2
        w_P = trust_P / loss_P
    n = place_TQ.shape[1]
    misfit = float((trust_P * np.log(loss_P)).sum() / trust_P.sum())
    return place_TQ @ solution_Q[:n], width_TQ @ solution_Q[n:], misfit


def track(mask_THW: np.ndarray) -> tuple[str, np.ndarray]:
    """The motion, and the boxes (T,4) of what is seen: centre x, y, width, height of 1."""
    T, H, W = mask_THW.shape
    edges_ET = _edges(mask_THW.max(1), mask_THW.max(2))
    area_T = mask_THW.sum((1, 2))
    trust_T = np.where(area_T > _HIDDEN * np.median(area_T), 1.0, 1e-3)
    u_T = np.linspace(0, 1, T)
    one = np.ones((T, 1))
    line = np.stack([np.ones(T), u_T], 1)
    hop = np.stack([np.ones(T), np.abs(np.sin(2 * np.pi * u_T))], 1)
    turn = np.stack([np.ones(T), np.cos(2 * np.pi * u_T), np.sin(2 * np.pi * u_T)], 1)
    best, least = "", np.inf
    boxes_T4 = np.zeros((T, 4))
    for name, in_x, in_y, width, handicap in (
        ("line", line, line, one, 0.0),
        ("bounce", one, hop, one, 0.0),
        ("orbit", turn, turn, one, 0.05),  # has the most freedom
        ("zoom", one, one, line, 0.0),
    ):
        x_T, w_T, misfit_x = _fit(in_x, width, edges_ET[:2], trust_T)
        y_T, h_T, misfit_y = _fit(in_y, width, edges_ET[2:], trust_T)
        if misfit_x + misfit_y + handicap < least:
            best, least = name, misfit_x + misfit_y + handicap
            w_T, h_T = np.maximum(w_T, 1), np.maximum(h_T, 1)
            boxes_T4 = np.stack([x_T / W, y_T / H, w_T / W, h_T / H], 1)
    return _motion(best, boxes_T4), boxes_T4


def _motion(model: str, boxes_T4: np.ndarray) -> str:
    """The name of a fitted motion, by how far and where to it goes."""
    first_4, last_4 = boxes_T4[0], boxes_T4[-1]
    if model == "zoom":
        ratio = np.sqrt((last_4[2:] / first_4[2:]).prod())
        return "zoom_in" if ratio > _ZOOM else "zoom_out" if ratio < 1 / _ZOOM else "still"
    if np.ptp(boxes_T4[:, :2], axis=0).max() < _STILL:
        return "still"
    if model != "line":
        return model
    units = {name: np.array(step) / np.hypot(*step) for name, step in DIRECTIONS.items()}
    return max(units, key=lambda name: units[name] @ (last_4 - first_4)[:2])


@functools.cache
def _sharp_templates() -> np.ndarray:
    """All kinds, grown and shifted in every way, (M, 49, 49)."""
    step = _FINE[1] - _FINE[0]
    templates = [
        shapes.coverage(
            shapes.signed_distance(kind, _FINE / grow, (_FINE[:, None] - shift) / grow), step / grow
        )
        for kind, grow, shift in itertools.product(KINDS, _GROW, _SHIFT)
    ]
    return np.array(templates, np.float32)


@functools.lru_cache(maxsize=128)
def _templates(blur: float) -> tuple[np.ndarray, np.ndarray]:
    """The same as they are seen with a blur in half boxes, (M, G*G), and their squares."""
    weights = np.exp(-0.5 * ((_GRID[:, None] - _FINE) / blur) ** 2)
    weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    seen_MP = (weights @ _sharp_templates() @ weights.T).reshape(-1, len(_GRID) ** 2)
    return seen_MP, seen_MP**2


def _straighten(mask_THW: np.ndarray, boxes_T4: np.ndarray) -> np.ndarray:
    """The mask in the coordinates of its boxes, by bilinear interpolation, (T,G,G)."""
    _, H, W = mask_THW.shape

    def weights(centre_T: np.ndarray, width_T: np.ndarray, pixels: int) -> np.ndarray:
        at_TG = (centre_T[:, None] + _GRID * width_T[:, None] / 2) * pixels - 0.5
        hat = 1 - np.abs(at_TG[:, :, None] - np.arange(pixels))
        return np.maximum(hat, 0).astype(np.float32)

    x_T, y_T, w_T, h_T = boxes_T4.T
    return weights(y_T, h_T, H) @ mask_THW @ weights(x_T, w_T, W).transpose(0, 2, 1)


def recognise(
    mask_THW: np.ndarray, other_THW: np.ndarray, boxes_T4: np.ndarray
) -> tuple[str, np.ndarray]:
    """The kind whose template is nearest, and the boxes corrected by how that template sits."""
    _, H, W = mask_THW.shape
    area_T = boxes_T4[:, 2] * boxes_T4[:, 3]
    care_TGG = 1 - np.clip(_straighten(other_THW, boxes_T4), 0, 1)  # the other may hide us there
    care_TGG *= (area_T / area_T.max())[:, None, None]  # large boxes show more
    weight_P = care_TGG.sum(0).ravel()
    mask_P = (care_TGG * _straighten(mask_THW, boxes_T4)).sum(0).ravel() / np.maximum(
        weight_P, 1e-3
    )
    weight_P /= max(weight_P.max(), 1e-3)
    half = np.average(np.sqrt(area_T * H * W), weights=area_T) / 2  # pixels
    misfits = []
    for blur in _BLURS:
        # few blurs are told apart, so that few sets of templates are made
        seen_MP, square_MP = _templates(round(round(blur / half / 0.02) * 0.02, 2))
        own_M, common_M = square_MP @ weight_P, seen_MP @ (weight_P * mask_P)
        gain_M = np.clip(common_M / np.maximum(own_M, 1e-6), 0.85, 1.3)
        misfits.append(gain_M**2 * own_M - 2 * gain_M * common_M)  # less the mask's own square
    shape = (len(KINDS), len(_GROW), len(_SHIFT))
    k, g, s = np.unravel_index(np.min(misfits, axis=0).argmin(), shape)
    corrected_T4 = boxes_T4.copy()
    corrected_T4[:, 1] += _SHIFT[s] * boxes_T4[:, 3] / 2
    # what is missing at the tips is the same in pixels whatever the width
    lost_2 = (_GROW[g] - 1) * np.average(boxes_T4[:, 2:], axis=0, weights=area_T)
    corrected_T4[:, 2:] = np.maximum(boxes_T4[:, 2:] + lost_2, boxes_T4[:, 2:] / 2)
    return KINDS[k], corrected_T4
