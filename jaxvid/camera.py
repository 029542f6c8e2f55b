"""Where in the frame the camera of a shot looks: a window that moves as time goes."""

import numpy as np

from jaxvid.script import Camera

# camera -> the window that it sees, at the first and at the last frame: its centre x and y and its
# sides, in fractions of the frame. A pan looks at 3/4 of the frame, from one side to the other.
_WINDOWS = {
    "still": ((0.5, 0.5, 1.0), (0.5, 0.5, 1.0)),
    "pan_left": ((0.625, 0.5, 0.75), (0.375, 0.5, 0.75)),
    "pan_right": ((0.375, 0.5, 0.75), (0.625, 0.5, 0.75)),
    "pan_up": ((0.5, 0.625, 0.75), (0.5, 0.375, 0.75)),
    "pan_down": ((0.5, 0.375, 0.75), (0.5, 0.625, 0.75)),
    "zoom_in": ((0.5, 0.5, 1.0), (0.5, 0.5, 0.5)),
    "zoom_out": ((0.5, 0.5, 0.5), (0.5, 0.5, 1.0)),
}


def windows(camera: Camera, frames: int) -> np.ndarray:
    """What it sees in each frame of a shot, (T,3): centre x, centre y and side of the window, in
    fractions of the frame. The centre moves evenly, the side by the same factor each frame."""
    first_3, last_3 = (np.array(window) for window in _WINDOWS[camera])
    u_T1 = np.linspace(0, 1, frames)[:, None]
    side_T1 = first_3[2:] * (last_3[2:] / first_3[2:]) ** u_T1
    return np.concatenate([first_3[:2] + u_T1 * (last_3 - first_3)[:2], side_T1], axis=1)
